"""An evaluation in this process, from its parts."""

from __future__ import annotations

from pathlib import Path

import torch

from fofa.data import DataSource
from fofa.distributed import Processes
from fofa.evaluate.evaluator import Evaluation, Measured
from fofa.evaluate.plan import Plan
from fofa.supernet.model import Supernet

ALONE = Processes(device=torch.device("cpu"))


def evaluate(
    supernet: Supernet, data: DataSource, plan: Plan, partial: Path | None = None
) -> Measured:
    """What `plan` measures; saved to `partial` after every unit, or gone on with from there."""
    return Evaluation(
        supernet=supernet,
        data=data,
        plan=plan,
        processes=ALONE,
        settings=plan.settings(),
        partial=partial,
        save_seconds=0,
    ).run()
