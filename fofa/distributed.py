"""One process, or many under torchrun: who I am, on which device, and averaging gradients.

Every process draws the same subnets and resolution, so every process has gradients for exactly the
same parameters, and they can be averaged as one flat buffer in a single all-reduce (30 MB at width
1.0) after the last backward pass, also when a step runs one subnet at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from fofa.errors import UserError
from fofa.train.meeting import meet

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""


class WorkerLostError(Exception):
    """Another process of the job died or hung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process's place among `world_size`; rank 0 writes files and reports."""

    rank: int = 0
    world_size: int = 1
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def barrier(self) -> None:
        if self.world_size > 1:
            with _noticing_losses():
                dist.barrier()

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes.

        Raises:
            WorkerLostError: if another process died or did not answer in time.
        """
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _noticing_losses():
            dist.all_reduce(flat)
        flat /= self.world_size
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


def choose_device(name: str) -> torch.device:
    """`auto` is this process's GPU where there is one, else the CPU.

    Raises:
        UserError: if the device is unknown or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdecimal()):
        raise UserError(f"device {name!r}: expected auto, cpu, cuda or cuda:<number>")
    if not torch.cuda.is_available():
        raise UserError(f"device {name!r}: this machine has no GPU that torch can use")
    number = int(index) if index else int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs")
    return torch.device("cuda", number)


def find_place(device: str) -> Processes:
    """This process's place, from the variables that torchrun sets; connects to nobody yet."""
    return Processes(
        rank=int(os.environ.get("RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        device=choose_device(device),
    )


@contextmanager
def connected(processes: Processes) -> Iterator[None]:
    """Connect the processes of a job for the time of the body; nothing to do for one alone."""
    if processes.device.type == "cuda":
        torch.cuda.set_device(processes.device)
    if processes.world_size == 1:
        yield
        return
    backend = "nccl" if processes.device.type == "cuda" else "gloo"
    with _noticing_losses():
        found, rank, world_size = next(dist.rendezvous("env://", timeout=TIMEOUT))
        store = meet(found, rank, world_size, TIMEOUT)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT
        )
    yield
    # Not in a `finally`: after a failure the others may be gone, and saying goodbye would hang.
    dist.destroy_process_group()


@contextmanager
def _noticing_losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:160]
        raise WorkerLostError(f"lost another process of this job: {reason}") from error
