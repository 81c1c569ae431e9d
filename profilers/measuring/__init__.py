"""The measurement core: rounds, warm-up, drift, interference, stability, statistics, samples."""
