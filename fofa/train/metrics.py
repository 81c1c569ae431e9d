"""What a run says about itself: its log (JSON lines, TensorBoard), and what it costs."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Self

import torch

from fofa.accuracy import TrainingRecord
from fofa.distributed import device_name
from fofa.files import write_text
from fofa.train.settings import TrainSettings

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"


class RunLog:
    """Appends records to `log.jsonl` and scalars to TensorBoard, from `step` on.

    Records of steps that were lost with a killed process are dropped, so that every step is in the
    log once.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool = True) -> None:
        self._path = folder / LOG_NAME
        if self._path.is_file():
            self._drop_after(step)
        self._file = self._path.open("a", encoding="utf-8")
        self._writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / TENSORBOARD_NAME), purge_step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, record: dict[str, object]) -> None:
        """Append a record; its numbers also go to TensorBoard."""
        self._file.write(json.dumps({"step": step, **record}) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in record.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"train/{name}", value, step)

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


class CostMeter:
    """Counts from the seconds that earlier sessions of the run spent."""

    def __init__(self, seconds: float = 0.0, core_seconds: float = 0.0) -> None:
        self._seconds, self._core_seconds = seconds, core_seconds
        self._wall_start, self._core_start = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock time of training."""
        return self._seconds + time.monotonic() - self._wall_start

    @property
    def core_seconds(self) -> float:
        """Processor time of this process, all threads together."""
        return self._core_seconds + time.process_time() - self._core_start

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
            device=device_name(device),
            images_per_second=step * settings.global_batch / max(self.seconds, 1e-9),
            seed=settings.seed,
            epoch_scale=settings.epoch_scale,
            train_images=images,
            precision=settings.precision,
        )


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used so far: the GPU's where there is one, else this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
