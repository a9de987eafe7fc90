"""Leaderboard: records, statistics and tables."""
