"""Adding up and agreeing between the processes of one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fofa.distributed import Processes
from fofa.errors import UserError

T = TypeVar("T")


def total(processes: Processes, tensor: Tensor) -> Tensor:
    """The sum of every process's `tensor`, which stays as it is.

    Raises:
        UserError: if another process is gone.
    """
    if processes.world_size == 1:
        return tensor
    result = tensor.to(processes.device, copy=True)
    try:
        dist.all_reduce(result)
    except RuntimeError as error:
        raise UserError(
            "lost another process of this evaluation; the same command goes on where it stopped "
            f"({str(error).splitlines()[0][:120]})"
        ) from error
    return result.to(tensor.device)


def agree(processes: Processes, flag: bool) -> bool:
    """What rank 0 says; the other ranks' `flag` does not count."""
    return bool(total(processes, torch.tensor(int(flag and processes.is_main))))


def rounds(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """`items` in lists of `size`, one for each process; the last one may be shorter."""
    current: list[T] = []
    for item in items:
        current.append(item)
        if len(current) == size:
            yield current
            current = []
    if current:
        yield current
