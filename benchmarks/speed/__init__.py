"""Speed of the parts against their alternatives: `python -m benchmarks.speed`, both in one run.

Ratios are what counts: machines are shared and noisy, and both sides of a ratio see the same noise.
"""
