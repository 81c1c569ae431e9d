"""What every data set offers to the trainer and to evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from torch import Tensor

from fofa.data.sampling import TrainOrder

Batch = tuple[Tensor, Tensor]
"""Images, normalised float32 (N, 3, R, R), and labels, int64 (N,), on the source's device."""

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


class DataSource(ABC):
    """A labelled image data set with a training and a test split.

    Attributes:
        name: of the data set (`cifar10`), without its place.
        spec: what `open_data` was given (`cifar10:DIR`).
        class_names: in the order of the labels.
        mean, std: per channel (RGB), of values 0 to 1; images are normalised with them.
        num_train, num_test: images of each split; `num_train` after `train_fraction`.
        num_skipped: how often a training image was left out because it could not be read.
        validated_on: what `validation_batches` shows, in words.
    """

    name: str
    spec: str
    class_names: tuple[str, ...]
    mean: Channels
    std: Channels
    num_train: int
    num_test: int
    num_skipped: int = 0
    validated_on: str = "the validation split"

    @abstractmethod
    def train_batches(
        self, order: TrainOrder, steps: range, resolution_of: Callable[[int], int]
    ) -> Iterator[Batch]:
        """This process's augmented batch of each of `steps`, at that step's resolution.

        A batch depends on the order's seed and its step only, so training may stop and go on
        anywhere, with any number of workers.
        """

    @abstractmethod
    def calibration_batches(
        self, resolution: int, num_images: int, batch_size: int, seed: int = 0
    ) -> Iterator[Batch]:
        """`num_images` training images drawn by `seed`, with the evaluation transform.

        All of the training images when there are fewer. For the recalibration of BatchNorm.
        """

    @abstractmethod
    def test_batches(
        self, resolution: int, batch_size: int, limit: int | None = None
    ) -> Iterator[Batch]:
        """The test images in a fixed order, or `limit` of them: always the same ones.

        Of image folders, which are sorted by class, these lie at even distances over the whole
        split; data sets that come in mixed order (CIFAR-10, `shapes`) give their first ones.
        """

    def validation_batches(self, resolution: int, batch_size: int, limit: int) -> Iterator[Batch]:
        """Images to watch training by, with the evaluation transform: at most `limit`, the same.

        Never those of a test split that results are measured on. Of image folders it is the
        validation split; a data set whose other split is its test set holds out training images.
        """
        return self.test_batches(resolution, batch_size, limit)
