"""Latency: the measurement core, the device plugins, and the making of latency tables."""
