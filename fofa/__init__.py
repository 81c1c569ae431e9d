"""Fast once-for-all networks: search space, supernet, training, evaluation, search and export."""

__version__ = "0.1.0"
