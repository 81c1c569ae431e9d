"""Which test image each subnet got right, counted beside the percentages in the same pass.

Bits of [architectures, images] for the whole evaluation, and the labels, which tell the images from
any others. Each process fills in the batches that it tests; together they have all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fofa.accuracy import ArchitectureAccuracy
from fofa.distributed import Processes
from fofa.errors import UserError
from fofa.outcomes import COUNTING, Outcomes

NAMES = ("right", "labels")
UNSEEN = -1


@dataclass(slots=True)
class RightAnswers:
    """What this process has seen.

    Attributes:
        right: bool [architectures, images].
        labels: int64 [images]; UNSEEN where this process tested no such image.
    """

    right: Tensor
    labels: Tensor

    @classmethod
    def none(cls, num_architectures: int, num_images: int, device: torch.device) -> RightAnswers:
        """Nothing tested yet."""
        right = torch.zeros(num_architectures, num_images, dtype=torch.bool, device=device)
        return cls(right, torch.full((num_images,), UNSEEN, dtype=torch.int64, device=device))

    def see(self, start: int, labels: Tensor) -> None:
        """Note the labels of the images from number `start` on."""
        self.labels[start : start + len(labels)] = labels

    def total(self, processes: Processes) -> RightAnswers:
        """What all processes have seen; no two have seen the same."""
        if processes.world_size == 1:
            return self
        labels = processes.total(self.labels - UNSEEN) + UNSEEN
        return RightAnswers(processes.total(self.right.to(torch.int32)).bool(), labels)

    def pack(self) -> dict[str, Tensor]:
        """As tensors of a partial file, eight images a byte."""
        bits = np.packbits(self.right.cpu().numpy(), axis=1)
        return {"right": torch.from_numpy(bits), "labels": self.labels.cpu()}

    def unpack(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `pack` returned.

        Raises:
            UserError: if it is of other architectures or images.
        """
        expected = self.pack()
        for name in NAMES:
            found = tensors[name]
            if found.shape != expected[name].shape or found.dtype != expected[name].dtype:
                raise UserError(f"{name} is {list(found.shape)} of {found.dtype}")
        bits = np.unpackbits(tensors["right"].numpy(), axis=1, count=self.right.shape[1])
        self.right.copy_(torch.from_numpy(bits.astype(bool)))
        self.labels.copy_(tensors["labels"])

    def outcomes(self, measured: Sequence[ArchitectureAccuracy]) -> Outcomes:
        """The file's content, checked against the percentages.

        Raises:
            UserError: if they do not agree, as after a damaged partial file.
        """
        rows = self.right.cpu().numpy()
        for entry, row in zip(measured, rows, strict=True):
            if abs(100 * row.mean() - entry.top1) > COUNTING:
                raise UserError(f"the outcomes of {entry.name} do not make its top-1; start over")
        labels = self.labels.cpu().numpy().astype("<i8")
        images = hashlib.sha256(labels.tobytes()).hexdigest()
        return Outcomes.of(images, {e.name: row for e, row in zip(measured, rows, strict=True)})
