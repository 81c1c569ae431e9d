"""Latency tables: built from a measurement, calibrated, validated, compared."""
