"""Which test image each architecture got right: a side file of an accuracy table.

`<name>.json` has `<name>.outcomes.json.gz` beside it where `fofa-eval --outcomes` was asked for: a
bit for every architecture and image (243 x 10,000 are 300 kB at most, compressed less). With it,
two tables are compared on the same images, which tells differences that two percentages cannot.
Worth committing for the evaluations at one resolution that recipes are compared by; for all 972
architectures the binomial error does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.files import FileModel, read_gzip, write_gzip

MAX_IMAGES = 200_000
MAX_BYTES = 256 * 2**20
"""Of the text; ImageNet's validation set for all 972 compound architectures has 81 million."""
COUNTING = 1e-6
"""Percent by which a table's top-1 may differ from the count of its outcomes."""


class Outcomes(FileModel):
    """Right or wrong at the first guess (schema `fofa.outcomes/1`).

    Attributes:
        images: SHA-256 of the labels in the order of the images; only equal ones are paired.
        right: for each architecture, by its name, the bits of the images in order, from the highest
            bit of the first byte on, in base64.
    """

    SCHEMA: ClassVar[str] = "fofa.outcomes"
    VERSION: ClassVar[int] = 1

    test_images: Annotated[int, Field(ge=1, le=MAX_IMAGES)]
    images: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    right: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_bits(self) -> Outcomes:
        size = (self.test_images + 7) // 8
        for name, text in self.right.items():
            try:
                found = base64.b64decode(text, validate=True)
            except ValueError:
                raise ValueError(f"the outcomes of {name} are not base64") from None
            if len(found) != size:
                raise ValueError(
                    f"the outcomes of {name} have {len(found)} bytes, expected {size} for "
                    f"{self.test_images} images"
                )
        return self

    @classmethod
    def of(cls, images: str, right: dict[str, np.ndarray]) -> Outcomes:
        """From bool arrays [test_images], one for each architecture's name."""
        (number,) = {len(row) for row in right.values()}
        packed = {name: np.packbits(row).tobytes() for name, row in right.items()}
        texts = {name: base64.b64encode(bits).decode() for name, bits in packed.items()}
        return cls(test_images=number, images=images, right=texts)

    def row(self, name: str) -> np.ndarray:
        """Which images the architecture of this name got right, bool [test_images].

        Raises:
            KeyError: if the file has no such architecture.
        """
        bits = np.frombuffer(base64.b64decode(self.right[name]), dtype=np.uint8)
        return np.unpackbits(bits, count=self.test_images).astype(bool)

    def mean(self, names: Sequence[str]) -> np.ndarray:
        """The share of these architectures that got each image right, float64 [test_images]."""
        total = np.zeros(self.test_images)
        for name in names:
            total += self.row(name)
        return total / len(names)


def outcomes_path(table: Path) -> Path:
    """Where the outcomes of the accuracy table `table` are kept."""
    return table.with_name(f"{table.name.removesuffix('.json')}.outcomes.json.gz")


def write_outcomes(outcomes: Outcomes, table: Path) -> Path:
    """Write the side file of the accuracy table `table`, the same bytes for the same outcomes."""
    path = outcomes_path(table)
    write_gzip(path, outcomes.to_json())
    return path


def read_outcomes(path: Path, table: AccuracyTable) -> Outcomes | None:
    """The outcomes beside the accuracy table that was read from `path`; None where none are kept.

    Raises:
        UserError: if the file is damaged, too large, or not of this table: every architecture's
            right answers must make its top-1.
    """
    side = outcomes_path(path)
    if not side.is_file():
        return None
    outcomes = Outcomes.parse(read_gzip(side, MAX_BYTES), side)
    if outcomes.test_images != table.evaluation.test_images:
        raise UserError(
            f"{side}: is of {outcomes.test_images} images, {path} of {table.evaluation.test_images}"
        )
    for entry in table.architectures:
        name = entry.architecture.name  # which a compound one may have beside another
        if name not in outcomes.right:
            raise UserError(f"{side}: has no outcomes of {name}, which {path} has")
        top1 = 100 * float(outcomes.row(name).mean())
        if abs(top1 - entry.top1) > COUNTING:
            raise UserError(
                f"{side}: {name} is right for {top1:.4g}% of the images, {path} says "
                f"{entry.top1:.4g}%; remove it, or evaluate again"
            )
    return outcomes
