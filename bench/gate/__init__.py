"""The gate: accuracy at each latency limit against a baseline, for continuous integration."""
