"""One process, or many under torchrun: who I am, on which device, and sums over all processes."""

from __future__ import annotations

import functools
import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fofa.errors import UserError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""
POLL_SECONDS = 0.02
LOOK_SECONDS = 0.3


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

        Every process draws the same subnets and resolution, so all have gradients for exactly the
        same parameters: one flat buffer in a single all-reduce (30 MB at width 1.0) after the last
        backward pass will do, also when a step runs one subnet at a time.

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

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of every process's `tensor`, which stays as it is.

        Raises:
            WorkerLostError: if another process died or did not answer in time.
        """
        if self.world_size == 1:
            return tensor
        result = tensor.to(self.device, copy=True)
        with _noticing_losses():
            dist.all_reduce(result)
        return result.to(tensor.device)

    def agree(self, flag: bool) -> bool:
        """What rank 0 says; the other ranks' `flag` does not count."""
        return self.any_of(flag and self.is_main)[0]

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any process has it set; GPUs are not waited for."""
        return tuple(bool(count) for count in self._sum(torch.tensor(flags, dtype=torch.int64)))

    def share(self, value: float) -> float:
        """The value of rank 0."""
        own = value if self.is_main else 0.0
        return float(self._sum(torch.tensor(own, dtype=torch.float64)))

    def is_same(self, text: str) -> bool:
        """Whether every process has the same text."""
        digest = hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=6).digest()
        number = float(int.from_bytes(digest))
        return not self.any_of(number != self.share(number))[0]

    def _sum(self, tensor: Tensor) -> Tensor:
        """The sum of every process's `tensor`, which is on the CPU."""
        if self.world_size > 1:
            with _noticing_losses():
                dist.all_reduce(tensor)
        return tensor


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


def set_arithmetic(device: torch.device, *, reduced: bool) -> None:
    """How this process's GPU computes; nothing on a CPU.

    cuDNN tries its algorithms for each shape, of which a supernet has few dozen. TF32 (10 bits of
    mantissa) stands in for float32 only where the person chose `reduced` precision: torch's own
    default takes it for convolutions always.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = reduced
        torch.backends.cuda.matmul.allow_tf32 = reduced


def set_threads(threads: int | None, processes: Processes) -> int:
    """Let torch compute with so many threads on a CPU; by default as many as cores are free.

    A machine busy with other work loses more by threads that wait for each other than it gains: a
    step took several times as long with two on two busy cores. A number in OMP_NUM_THREADS is a
    choice, too.

    Returns:
        The number of threads.
    """
    if threads is None and processes.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        threads = max(1, min(torch.get_num_threads(), round(_free_cores() / here)))
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def _free_cores() -> float:
    """How much of the cores that this process may use is idle, from a look of `LOOK_SECONDS`.

    The load of a minute would count what has just ended, such as the training before this.
    """
    import psutil

    busy = [percent / 100 for percent in psutil.cpu_percent(LOOK_SECONDS, percpu=True)]
    if hasattr(os, "sched_getaffinity"):
        busy = [busy[core] for core in os.sched_getaffinity(0) if core < len(busy)]
    return len(busy) - sum(busy)


@functools.cache
def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the processor with its vector instructions and the threads used.

    Virtual machines call processors alike that differ in speed by their instructions. Asked once:
    finding out the processor's name takes about a second.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    from cpuinfo import get_cpu_info

    brand = get_cpu_info().get("brand_raw", "CPU")
    number = torch.get_num_threads()
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{brand} ({vectors}), {number} thread{'s' if number > 1 else ''}"


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
    # Flags and numbers for the host go over gloo everywhere, so that they wait for no GPU.
    backend = "cpu:gloo,cuda:nccl" if processes.device.type == "cuda" else "gloo"
    with _noticing_losses():
        found, rank, world_size = next(dist.rendezvous("env://", timeout=TIMEOUT))
        store = rendezvous(found, rank, world_size, TIMEOUT)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT
        )
    yield
    # Not in a `finally`: after a failure the others may be gone, and saying goodbye would hang.
    dist.destroy_process_group()


def rendezvous(store: dist.Store, rank: int, world_size: int, timeout: timedelta) -> dist.Store:
    """The part of `store` that only this attempt's processes use; each of them calls this once.

    torchrun keeps one key-value store for all attempts at a job (seen in torch 2.15), and a
    process group leaves its addresses in it under the same keys every time. After a restart a
    process may read an address that a dead process left there, and both sides then wait until the
    timeout. So each attempt gets a prefix of its own, which the processes agree on first. The
    number of restarts would not do: torchrun counts it on each machine by itself.

    Every process but the first says hello under a name that was never used before, and the first
    answers each name with the attempt's, until everybody has confirmed it. What dead processes
    left in the store gets an answer that nobody reads.

    Raises:
        RuntimeError: if a process does not come in time.
    """
    if rank == 0:
        return dist.PrefixStore(_host(store, world_size, timeout), store)
    name = uuid.uuid4().hex
    store.set(f"hello/{rank}", name)
    store.wait([f"welcome/{name}"], timeout)
    attempt = store.get(f"welcome/{name}").decode()
    store.set(f"ready/{attempt}/{rank}", "")
    return dist.PrefixStore(attempt, store)


def _host(store: dist.Store, world_size: int, timeout: timedelta) -> str:
    attempt = uuid.uuid4().hex
    missing = set(range(1, world_size))
    deadline = time.monotonic() + timeout.total_seconds()
    while missing:
        for rank in sorted(missing):
            if store.check([f"hello/{rank}"]):
                store.set(f"welcome/{store.get(f'hello/{rank}').decode()}", attempt)
        missing = {rank for rank in missing if not store.check([f"ready/{attempt}/{rank}"])}
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(missing)} did not come in time")
        time.sleep(POLL_SECONDS)
    return attempt


@contextmanager
def _noticing_losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:160]
        raise WorkerLostError(f"lost another process of this job: {reason}") from error
