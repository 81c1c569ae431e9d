"""The paper's own numbers (Tables 2 to 5), for showing beside ours.

"Fast and efficient once-for-all networks for diverse hardware deployment", ImageNet, multiply-adds
and latencies as the paper counts them. Only data and look-ups live here.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

DATASET = "ImageNet"
TRAINING_HARDWARE = "8 NVIDIA A100"


@dataclass(frozen=True, slots=True)
class PaperMethod:
    """A row of the paper's Table 2; `gpu_hours` on A100 cards, `mean_top1` over 243 subnets."""

    recipe: str
    label: str
    epochs: int
    gpu_hours: int
    ratio: float
    mean_top1: float


METHODS = (
    PaperMethod("ofa", "OFA", 605, 672, 1.0, 75.5),
    PaperMethod("compofa", "CompOFA", 330, 336, 2.0, 75.4),
    PaperMethod("fofa-n3", "fOFA (n=3)", 185, 184, 3.7, 75.5),
    PaperMethod("fofa-n4", "fOFA (n=4)", 185, 216, 3.1, 75.5),
    PaperMethod("fofa-n4-300", "fOFA (n=4, 300)", 300, 350, 1.9, 75.6),
)
"""Table 2, in the paper's order."""

PROPOSED = "fofa-n3"
PREDECESSORS = ("ofa", "compofa")
"""Who is said to be ahead of whom."""

FURTHER_LABELS = MappingProxyType(
    {
        "sandwich": "Sandwich rule",
        "naive": "Naive sampling",
        "smallest-first": "Smallest first",
    }
)
"""Not in the tables: section 5 reports a mean 0.3 points below upper-attentive sampling for the
sandwich rule, and dismisses one random subnet a step."""


@dataclass(frozen=True, slots=True)
class PaperDevice:
    """Accuracy within four latency limits on one device (Tables 3 to 5)."""

    table: int
    device: str
    title: str
    limits_ms: tuple[float, float, float, float]
    top1: MappingProxyType[str, tuple[float, float, float, float]]


def _device(
    table: int,
    device: str,
    title: str,
    limits_ms: tuple[float, float, float, float],
    **top1: tuple[float, float, float, float],
) -> PaperDevice:
    rows = {name.replace("_", "-"): values for name, values in top1.items()}
    return PaperDevice(table, device, title, limits_ms, MappingProxyType(rows))


DEVICES = (
    _device(
        3,
        "note10",
        "Samsung Note10",
        (15, 20, 25, 30),
        ofa=(71.93, 73.95, 74.94, 75.41),
        compofa=(72.08, 73.94, 74.94, 75.58),
        fofa_n3=(72.02, 74.06, 75.06, 75.60),
        fofa_n4=(71.74, 73.78, 74.77, 75.47),
    ),
    _device(
        4,
        "a100",
        "NVIDIA A100",
        (4, 6, 8, 10),
        ofa=(72.55, 76.12, 77.02, 77.11),
        compofa=(72.78, 76.26, 77.40, 77.49),
        fofa_n3=(73.63, 76.08, 77.39, 77.55),
        fofa_n4=(73.75, 76.33, 77.21, 77.28),
    ),
    _device(
        4,
        "pascal",
        "NVIDIA Pascal",
        (15, 25, 35, 40),
        ofa=(73.86, 76.11, 77.00, 77.10),
        compofa=(72.84, 76.27, 77.45, 77.52),
        fofa_n3=(74.46, 76.28, 77.37, 77.46),
        fofa_n4=(74.51, 76.29, 77.15, 77.36),
    ),
    _device(
        5,
        "epyc7763",
        "AMD EPYC 7763 CPU",
        (22, 25, 28, 31),
        ofa=(74.34, 74.92, 74.92, 76.05),
        compofa=(72.77, 74.65, 75.17, 76.35),
        fofa_n3=(73.55, 75.01, 75.38, 75.78),
        fofa_n4=(73.44, 74.69, 75.59, 75.85),
    ),
)
"""Tables 3, 4 (left and right) and 5."""


def method(recipe: str) -> PaperMethod | None:
    """The paper's row for `recipe`, None where the paper has none."""
    return next((row for row in METHODS if row.recipe == recipe), None)


def device(name: str) -> PaperDevice | None:
    """The paper's device called `name`, None where the paper has none."""
    return next((entry for entry in DEVICES if entry.device == name), None)


def devices_of_table(table: int) -> tuple[PaperDevice, ...]:
    """The devices side by side in one of the paper's tables, left to right."""
    return tuple(entry for entry in DEVICES if entry.table == table)


def label(recipe: str) -> str:
    """What the tables call a recipe."""
    row = method(recipe)
    if row is not None:
        return row.label
    return FURTHER_LABELS.get(recipe, recipe)


def recipe_order(recipe: str) -> tuple[int, str]:
    """Sort key: the paper's order, then the sandwich rule, then other recipes by name."""
    order = [row.recipe for row in METHODS] + ["sandwich"]
    return (order.index(recipe), "") if recipe in order else (len(order), recipe)
