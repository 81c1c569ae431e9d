"""The fitted model as a file (`calibration.json`), and how it is made again.

    python -m profilers.estimates.calibration

fits it to `published_latencies.csv` and writes the file. Tests do the same and compare.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import ClassVar

from fofa.files import FileModel
from profilers.estimates.judge import Judgement, Spread, judged
from profilers.estimates.model import Constants
from profilers.estimates.published import published_latencies

CALIBRATION_FILE = Path(__file__).with_name("calibration.json")


class RooflineCalibration(FileModel):
    """Constants, spread, and what is known of the error, by runtime class and type."""

    SCHEMA: ClassVar[str] = "fofa.roofline"
    VERSION: ClassVar[int] = 1

    constants: Constants
    spread: Spread
    judgements: dict[str, Judgement]


@functools.cache
def calibration() -> RooflineCalibration:
    """The committed one."""
    return RooflineCalibration.read(CALIBRATION_FILE)


def make_calibration() -> RooflineCalibration:
    """Fitted anew to every published latency."""
    constants, spread, judgements = judged(published_latencies())
    rounded = {
        name: round(value, 5) for name, value in constants.model_dump(exclude={"factors"}).items()
    }
    factors = {name: round(value, 5) for name, value in constants.factors.items()}
    return RooflineCalibration(
        constants=Constants(**rounded, factors=factors), spread=spread, judgements=judgements
    )


if __name__ == "__main__":
    make_calibration().write(CALIBRATION_FILE)
