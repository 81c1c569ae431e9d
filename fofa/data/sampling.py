"""Which images a step trains on: a permutation per epoch, cut into batches, then into shards.

The answer depends on the run's seed and the step only. Processes under torchrun take consecutive
parts of the same global batch, so that n processes see what one would see with n times the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.seeds import generator

Arrange = Callable[[int, int, int], Tensor]
"""(number of images, seed, epoch) -> the order of all images in that epoch, int64 (N,)."""


def shuffled(num_images: int, seed: int, epoch: int) -> Tensor:
    """Any image may follow any other."""
    return torch.randperm(num_images, generator=generator(seed, "order", epoch))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOrder:
    """The order of a training set of `num_images` images.

    `batch_size` counts the images of one process; a step takes `batch_size * world_size`. The
    images that do not fill a last batch are left out of an epoch (a different few each time).

    Raises:
        UserError: if the data set is smaller than one step's batch.
    """

    num_images: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch size {self.batch_size}: expected at least 1")
        if self.num_images < self.global_batch:
            raise UserError(
                f"the training set has {self.num_images} images, fewer than the "
                f"{self.global_batch} of one step; take a smaller "
                "--batch-size or a larger --train-fraction"
            )

    @property
    def global_batch(self) -> int:
        """Images of one step over all processes."""
        return self.batch_size * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        """Whole global batches in an epoch."""
        return self.num_images // self.global_batch

    @property
    def shard(self) -> slice:
        """This process's part of a global batch."""
        return slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)

    def batches(self, steps: range, arrange: Arrange = shuffled) -> Iterator[tuple[int, Tensor]]:
        """Each of `steps` with this process's image indices, int64 (batch_size,)."""
        last_epoch, order = -1, torch.empty(0)
        for step in steps:
            epoch, within = divmod(step, self.steps_per_epoch)
            if epoch != last_epoch:
                last_epoch, order = epoch, arrange(self.num_images, self.seed, epoch)
            start = within * self.global_batch
            yield step, order[start : start + self.global_batch][self.shard]
