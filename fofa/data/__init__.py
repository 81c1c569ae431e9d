"""Data sets, named by a spec: `shapes`, `cifar10:DIR`, `folder:DIR`, `imagenet:DIR`,
`wds:TRAIN,VAL`."""

from fofa.data.opening import DATA_SETS, open_data, with_val_share
from fofa.data.sampling import TrainOrder
from fofa.data.source import Batch, DataSource

__all__ = ["DATA_SETS", "Batch", "DataSource", "TrainOrder", "open_data", "with_val_share"]
