"""What a run costs: time by the wall and by the processors, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fofa.accuracy import TrainingRecord
from fofa.distributed import device_name
from fofa.train.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Where times come from, in seconds: by the wall, and of this process's processors."""

    wall: Callable[[], float] = time.monotonic
    cores: Callable[[], float] = time.process_time

    def cost(self, device: torch.device) -> Callable[[], float]:
        """The clock that a budget is counted by; a GPU's waits for what it was given to do."""
        if device.type != "cuda":
            return self.cores

        def finished() -> float:
            torch.cuda.synchronize(device)
            return self.wall()

        return finished


class CostMeter:
    """Counts on from what earlier sessions of the run spent; stands still until it is started.

    Attributes:
        seconds: wall-clock time of training.
        core_seconds: processor time of training, of this process with all its threads.
        wall_seconds: wall-clock time with what comes beside training.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        core_seconds: float = 0.0,
        wall_seconds: float | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._before = (seconds, core_seconds, seconds if wall_seconds is None else wall_seconds)
        self._clocks = clocks or Clocks()
        self._start: tuple[float, float] | None = None
        self._paused = (0.0, 0.0)

    def start(self) -> None:
        """Time counts from now on."""
        self._start = self._now()

    @property
    def seconds(self) -> float:
        return self._before[0] + self._passed()[0] - self._paused[0]

    @property
    def core_seconds(self) -> float:
        return self._before[1] + self._passed()[1] - self._paused[1]

    @property
    def wall_seconds(self) -> float:
        return self._before[2] + self._passed()[0]

    @property
    def session_seconds(self) -> float:
        """As `seconds`, since it was started."""
        return self.seconds - self._before[0]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What the body costs is not training."""
        wall, cores = self._now()
        try:
            yield
        finally:
            now = self._now()
            self._paused = (self._paused[0] + now[0] - wall, self._paused[1] + now[1] - cores)

    def cost(self, device: torch.device) -> float:
        """The seconds that count for a budget: of the GPU where there is one, else of the cores."""
        return self.seconds if device.type == "cuda" else self.core_seconds

    def record(
        self, settings: TrainSettings, step: int, epochs: float, device: torch.device, images: int
    ) -> TrainingRecord:
        """The costs up to `step`, for a job of `settings.processes` equal processes."""
        on_gpu = device.type == "cuda"
        hours = settings.processes / 3600
        return TrainingRecord(
            epochs=epochs,
            gpu_hours=self.seconds * hours if on_gpu else 0.0,
            core_hours=self.core_seconds * hours,
            budget_hours=settings.budget_hours,
            pace=settings.pace,
            wall_hours=self.wall_seconds / 3600,
            device=device_name(device),
            images_per_second=step * settings.global_batch / max(self.seconds, 1e-9),
            seed=settings.seed,
            epoch_scale=settings.epoch_scale,
            train_images=images,
            precision=settings.precision,
            tf32=torch.backends.cudnn.allow_tf32 if on_gpu else None,
            cudnn_benchmark=torch.backends.cudnn.benchmark if on_gpu else None,
        )

    def _now(self) -> tuple[float, float]:
        return self._clocks.wall(), self._clocks.cores()

    def _passed(self) -> tuple[float, float]:
        if self._start is None:
            return 0.0, 0.0
        wall, cores = self._now()
        return wall - self._start[0], cores - self._start[1]


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used so far: the GPU's where there is one, else this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
