"""Fast once-for-all networks: search space, supernet, training, evaluation, search and export.

The distribution is called fofa-nas.
"""

__version__ = "0.1.0"
