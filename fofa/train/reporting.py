"""What a run says of itself while it goes on: the progress line, `log.jsonl`, trackers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from rich.console import Console
from torch import Tensor

from fofa.files import write_text
from fofa.progress import Progress, duration
from fofa.recipes import Phase
from fofa.train.schedule import PhasePlan, TrainPlan
from fofa.train.tracking import Tracker

LOG_NAME = "log.jsonl"
LOG_EVERY_STEPS = 10
CHOSEN = "chosen"
"""The role of a subnet that is trained by its own name."""


class DivergedError(Exception):
    """The loss or the weights are no longer numbers; the last checkpoint is still good."""


class RunLog:
    """Appends records to `log.jsonl` and numbers to trackers, from `step` on.

    Records of steps that were lost with a killed process are dropped, so that every step is in the
    log once.
    """

    def __init__(self, folder: Path, step: int, trackers: Sequence[Tracker] = ()) -> None:
        self._path = folder / LOG_NAME
        if self._path.is_file():
            self._drop_after(step)
        self._file = self._path.open("a", encoding="utf-8")
        self._trackers = trackers

    def close(self) -> None:
        """End the files."""
        self._file.close()
        for tracker in self._trackers:
            tracker.close()

    def write(self, step: int, record: dict[str, object]) -> None:
        """Append a record; its numbers also go to the trackers."""
        self._file.write(json.dumps({"step": step, **record}) + "\n")
        self._file.flush()
        numbers = {
            f"train/{name}": float(value)
            for name, value in record.items()
            if isinstance(value, int | float)
        }
        for tracker in self._trackers:
            tracker.write(step, numbers)

    def _drop_after(self, step: int) -> None:
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                # The line that was being written when the process was killed.
                continue
        write_text(self._path, "".join(kept))


def losses_by_role(phase: Phase, losses: list[float]) -> dict[str, float]:
    """The sum of a step's losses, and that of each role, by the names that the log uses."""
    names = [which if isinstance(which, str) else CHOSEN for which in phase.anchors]
    roles = {f"loss_{name}": loss for name, loss in zip(names, losses, strict=False)}
    drawn = losses[len(phase.anchors) :]
    if drawn:
        roles["loss_random"] = sum(drawn) / len(drawn)
    return {"loss": sum(losses), **roles}


class Reporter:
    """Tells how one session of a run goes on, every few steps; only the main process is heard."""

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        global_batch: int,
        console: Console | None,
        log: RunLog | None,
    ) -> None:
        self._folder, self._first = folder, step
        self._global_batch, self._console, self._log = global_batch, console, log
        self._progress = Progress(console)
        self._losses: list[Tensor] = []
        self._started = time.monotonic()
        self._beside = ""

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.__exit__()
        if self._log is not None:
            self._log.close()

    def begin(self, plan: TrainPlan, step: int) -> None:
        """Training goes on with `plan` after `step` steps."""
        done = plan.work(0, step)
        self._progress.stage("training", done + plan.work_left(step), done)

    def step_done(
        self, plan: TrainPlan, phase: PhasePlan, step: int, losses: Tensor, *, now: bool
    ) -> dict[str, float] | None:
        """Take the losses (n,) of a step; `step` steps are done.

        Returns:
            What there is to log, at every tenth step and `now`.

        Raises:
            DivergedError: if the losses are no numbers.
        """
        self._losses.append(losses)
        seconds = max(time.monotonic() - self._started, 1e-9)
        if step - self._first == LOG_EVERY_STEPS and self._console is not None:
            left = seconds * plan.work_left(step) / plan.work(self._first, step)
            self._console.print(f"expected to take {duration(left)} more")
        if not now and step % LOG_EVERY_STEPS:
            return None
        found = losses_by_role(phase.phase, torch.stack(self._losses).mean(0).tolist())
        self._losses = []
        if not math.isfinite(found["loss"]):
            raise DivergedError(
                f"the loss at step {step - 1} is {found['loss']}; the last checkpoint in "
                f"{self._folder} is from before; a lower learning rate (smaller batch) or fp32 "
                "may help"
            )
        speed = self._global_batch * (step - self._first) / seconds
        roles = [f"{role[5:]} {loss:.3f}" for role, loss in found.items() if role != "loss"]
        text = [f"step {step} of {plan.num_steps}", f"loss {', '.join(roles)}", self._beside]
        self._progress.update(
            plan.work(0, step),
            name=phase.phase.name,
            note=", ".join(filter(None, (*text, f"{speed:.0f} images/s"))),
        )
        return {**found, "images_per_second": round(speed, 2)}

    def log(self, step: int, record: dict[str, object]) -> None:
        """Write a record to the log, once `step` steps are done."""
        if self._log is not None:
            self._log.write(step, record)

    def tell_beside(self, text: str) -> None:
        """What the progress line says from now on, beside the loss."""
        self._beside = text
