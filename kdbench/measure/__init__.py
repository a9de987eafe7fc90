"""Measurement: compression, latency and training cost."""
