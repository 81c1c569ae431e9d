"""Speed of the parts against their alternatives, side by side in one run: `python -m bench.speed`.

Ratios are what counts: machines are shared and noisy, and both sides of a ratio see the same noise.
"""
