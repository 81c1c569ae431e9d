"""Reproducing the results: every recipe trained and evaluated, step by step, resumable anywhere."""
