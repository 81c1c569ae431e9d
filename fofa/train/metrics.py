"""What training costs: wall-clock and processor time, images, and memory."""

from __future__ import annotations

import functools
import resource
import sys
import time

import torch

from fofa.accuracy import TrainingRecord
from fofa.train.settings import TrainSettings


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


@functools.cache
def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the processor with the number of threads used.

    Asked once: finding out the processor's name takes about a second.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    from cpuinfo import get_cpu_info

    brand = get_cpu_info().get("brand_raw", "CPU")
    return f"{brand}, {torch.get_num_threads()} threads"


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used so far: the GPU's where there is one, else this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
