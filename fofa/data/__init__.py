"""Data sets, named by a spec: `shapes`, `cifar10:DIR`, `folder:DIR`, `imagenet:DIR`."""

from fofa.data.opening import DATA_SETS, open_data
from fofa.data.sampling import TrainOrder
from fofa.data.source import Batch, DataSource

__all__ = ["DATA_SETS", "Batch", "DataSource", "TrainOrder", "open_data"]
