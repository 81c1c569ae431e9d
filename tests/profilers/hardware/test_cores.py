"""Cores: who shares one with whom, which are chosen, and that a measurement is kept on them."""

import os
import threading

import pytest

from profilers.hardware import cores
from profilers.hardware.cores import (
    CoreTimes,
    affinity,
    choose_cores,
    core_times,
    pinned,
    siblings,
    with_siblings,
)

ACCOUNTS = """cpu  700 0 300 9000 0 0 0 50 20 0
cpu0 400 10 100 4000 7 3 2 40 20 0
cpu2 300 0 200 5000 0 0 0 10 0 0
intr 12 0 0
ctxt 5
"""
needs_pinning = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system pins no process"
)


@pytest.fixture
def machine(tmp_path):
    """Describes a machine as Linux does: pairs of siblings, and the speed of each core."""

    def describe(pairs, speed=None):
        for pair in pairs:
            for core in pair:
                folder = tmp_path / f"cpu{core}" / "topology"
                folder.mkdir(parents=True)
                (folder / "thread_siblings_list").write_text(",".join(map(str, pair)) + "\n")
        for core, value in (speed or {}).items():
            (tmp_path / f"cpu{core}" / "cpu_capacity").write_text(f"{value}\n")
        return tmp_path

    return describe


def test_accounts_are_read_by_core_without_idling_and_without_guests(tmp_path):
    file = tmp_path / "stat"
    file.write_text(ACCOUNTS)
    tick = os.sysconf("SC_CLK_TCK")
    assert core_times(file) == {
        0: CoreTimes(busy=515 / tick, steal=40 / tick),
        2: CoreTimes(busy=500 / tick, steal=10 / tick),
    }
    assert core_times(tmp_path / "gone") is None


def test_siblings_share_a_physical_core(machine):
    system = machine([(0, 32), (1, 33)])
    assert siblings(33, system) == {1, 33}
    assert with_siblings({0, 1}, system) == {0, 1, 32, 33}
    assert siblings(7, system) == {7}  # a virtual machine that is told nothing


def test_lists_of_linux_may_hold_ranges(machine):
    system = machine([(0,)])
    (system / "cpu0" / "topology" / "thread_siblings_list").write_text("0-3,8\n")
    assert siblings(0, system) == {0, 1, 2, 3, 8}


def test_chosen_cores_are_physical_ones_that_are_free(machine):
    system = machine([(0, 4), (1, 5), (2, 6), (3, 7)])
    busy = {6: 1.0, 3: 0.02}
    assert choose_cores(1, range(8), busy, system) == {3}
    assert choose_cores(3, range(8), busy, system) == {0, 1, 3}
    assert choose_cores(4, range(8), busy, system) == {0, 1, 2, 3}
    assert len(choose_cores(6, range(8), busy, system)) == 6
    assert choose_cores(9, range(8), busy, system) is None
    assert choose_cores(1, [2, 6], busy, system) == {2}


def test_fast_cores_are_preferred_to_free_ones(machine):
    system = machine([(0,), (1,), (2,)], speed={0: 1024, 1: 1024, 2: 512})
    assert choose_cores(1, range(3), {1: 0.9}, system) == {0}
    assert choose_cores(2, range(3), {0: 0.9, 1: 0.9}, system) == {0, 1}


@needs_pinning
def test_what_is_pinned_stays_there_with_its_threads_and_is_let_go():
    before = affinity()
    seen = []
    with pinned(1) as chosen:
        assert len(chosen) == 1
        assert chosen <= before
        assert affinity() == chosen
        thread = threading.Thread(target=lambda: seen.append(affinity()))
        thread.start()
        thread.join()
    assert seen == [chosen]
    assert affinity() == before


@needs_pinning
def test_nothing_is_pinned_where_there_are_too_few_cores_or_it_is_forbidden(monkeypatch):
    before = affinity()
    with pinned(len(before) + 1) as chosen:
        assert chosen is None

    def forbidden(pid, mask):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with pinned(1) as chosen:
        assert chosen is None
    monkeypatch.setattr(cores, "affinity", lambda: None)
    with pinned(1) as chosen:
        assert chosen is None
    assert affinity() == before
