"""How the processes of one attempt at a job find each other, and not those of the attempt before.

torchrun keeps one key-value store for all attempts at a job (seen in torch 2.15), and a
process group leaves its addresses in it under the same keys every time. After a restart a process
may read an address that a dead process left there, and both sides then wait until the timeout. So
each attempt gets a prefix of its own, which the processes agree on first. The number of restarts
would not do: torchrun counts it on each machine by itself.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import torch.distributed as dist

POLL_SECONDS = 0.02


def meet(store: dist.Store, rank: int, world_size: int, timeout: timedelta) -> dist.Store:
    """The part of `store` that only this attempt's processes use; each of them calls this once.

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
