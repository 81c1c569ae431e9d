"""Who a process is, and how the processes of one attempt find each other, and no earlier ones."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import psutil
import pytest
import torch
import torch.distributed as dist

from fofa.distributed import Processes, find_place, rendezvous, set_arithmetic, set_threads

TIMEOUT = timedelta(seconds=20)


class Job:
    """A store that outlives attempts, as torchrun's does, and a client of it for each process."""

    def __init__(self) -> None:
        self.server = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)

    def client(self) -> dist.Store:
        return dist.TCPStore(
            "localhost", self.server.port, is_master=False, wait_for_workers=False, timeout=TIMEOUT
        )

    def attempt(self, ranks: list[int], world_size: int) -> list[Future[dist.Store]]:
        """Processes of these ranks, all at once (threads, each with its own connection)."""
        with ThreadPoolExecutor(len(ranks)) as pool:
            return [pool.submit(rendezvous, self.client(), r, world_size, TIMEOUT) for r in ranks]


def test_an_attempt_shares_a_part_of_the_store() -> None:
    job = Job()
    stores = [future.result() for future in job.attempt([0, 1, 2], 3)]
    stores[2].set("address", "here")
    assert [store.get("address") for store in stores] == [b"here"] * 3


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_a_later_attempt_sees_nothing_of_an_earlier_one(order: list[int]) -> None:
    job = Job()
    for attempt in range(3):
        stores = [future.result() for future in job.attempt(order, 3)]
        for store in stores:
            assert not store.check(["address"])
        stores[0].set("address", str(attempt))
        assert all(store.get("address") == str(attempt).encode() for store in stores)


def test_an_attempt_that_died_half_way_does_not_matter() -> None:
    job = Job()
    # Two said hello and died before the first process came.
    for rank in (1, 2):
        with pytest.raises(RuntimeError):
            rendezvous(job.client(), rank, 3, timedelta(seconds=0.2))
    stores = [future.result() for future in job.attempt([0, 1, 2], 3)]
    stores[1].set("address", "new")
    assert all(store.get("address") == b"new" for store in stores)


def test_a_process_that_never_comes_ends_the_wait() -> None:
    job = Job()
    with pytest.raises(RuntimeError, match=r"\[1, 2\] did not come in time"):
        rendezvous(job.client(), 0, 3, timedelta(seconds=0.2))


def test_one_process_is_its_own_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    place = find_place("cpu")
    assert (place.rank, place.world_size, place.is_main) == (0, 1, True)


def test_one_process_agrees_with_itself() -> None:
    alone = Processes(device=torch.device("cpu"))
    assert [alone.agree(flag) for flag in (True, False)] == [True, False]
    tensor = torch.tensor([1, 2])
    assert torch.equal(alone.total(tensor), tensor)


def test_threads_are_those_of_free_cores_unless_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Processes(device=torch.device("cpu"))
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    for busy in (0, 5, 8):
        # Two more cores than may be used; they are busy, and do not count.
        percent = [100.0] * busy + [2.5] * (8 - busy) + [100.0] * 2
        monkeypatch.setattr(psutil, "cpu_percent", lambda *_, percent=percent, **__: percent)
        set_threads(None, alone)
    set_threads(4, alone)
    assert chosen == [8, 3, 1, 4]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [0.0] * 8)
    set_threads(None, alone)
    assert chosen.pop() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    set_threads(None, alone)
    assert len(chosen) == 4


def test_tf32_needs_a_reduced_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.backends import cuda, cudnn

    before = cudnn.benchmark, cudnn.allow_tf32, cuda.matmul.allow_tf32
    try:
        set_arithmetic(torch.device("cpu"), reduced=True)
        assert (cudnn.benchmark, cudnn.allow_tf32, cuda.matmul.allow_tf32) == before
        for reduced in (False, True):
            set_arithmetic(torch.device("cuda"), reduced=reduced)
            found = cudnn.benchmark, cudnn.allow_tf32, cuda.matmul.allow_tf32
            assert found == (True, reduced, reduced)
    finally:
        cudnn.benchmark, cudnn.allow_tf32, cuda.matmul.allow_tf32 = before
