"""Runs: what defines one, and what it leaves behind."""
