"""Who else is at work is noticed: other programs, and other profilers by both sides."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from profilers.hardware import load
from profilers.hardware.cores import CoreTimes
from profilers.measuring.interference import OtherProfilers, began_seconds, other_programs
from profilers.measuring.samples import Round
from profilers.measuring.stability import is_disturbed

HOLD = """
import sys
from pathlib import Path
from profilers.measuring.interference import OtherProfilers
waiting = int(sys.argv[2]) if sys.argv[2:] else None
with OtherProfilers(Path(sys.argv[1]), waiting=waiting) as others:
    print(others.count(), flush=True)
    sys.stdin.readline()
    print(others.count(), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path, request):
    waiting = [str(os.getpid())] if getattr(request, "param", None) == "for it" else []
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), *waiting],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_work_of_others_is_seen_and_ones_own_is_not():
    programs = other_programs()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        pass
    own = programs.interference()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(0.2)
        programs.interference()
        time.sleep(1.0)
        busy = programs.interference()
        process.kill()
    assert max(busy.other_cpu_percent, busy.machine_cpu_percent * psutil.cpu_count()) > 20
    assert own.other_cpu_percent >= 0
    assert own.steal_percent is None or own.steal_percent >= 0


@pytest.fixture
def server(monkeypatch):
    """64 cores in pairs of siblings, of which the measurement may use core 3; work is given."""

    class Server:
        def __init__(self):
            self.now = 0.0
            self.busy = dict.fromkeys(range(64), 0.0)
            self.steal = dict.fromkeys(range(64), 0.0)
            self.allowed = frozenset({3})

        def work(self, seconds, shares, steal=()):
            """Let `shares` of the time be worked on some cores, `steal` be stolen from others."""
            self.now += seconds
            for core, share in shares.items():
                self.busy[core] += share * seconds
            for core in steal:
                self.steal[core] += seconds

        def times(self):
            return {core: CoreTimes(self.busy[core], self.steal[core]) for core in range(64)}

    made = Server()
    monkeypatch.setattr(load, "core_times", made.times)
    monkeypatch.setattr(load, "affinity", lambda: made.allowed)
    monkeypatch.setattr(
        load, "with_siblings", lambda cores: frozenset(c ^ s for c in cores for s in (0, 1))
    )
    monkeypatch.setattr(load.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(load.time, "process_time", lambda: made.now)
    return made


def judged(found):
    return is_disturbed(
        Round(
            number=0,
            visits=(),
            other_cpu_percent=found.other_cpu_percent,
            steal_percent=found.steal_percent,
            machine_cpu_percent=found.machine_cpu_percent,
        )
    )


@pytest.mark.parametrize(
    ("others", "steal", "other", "machine", "disturbed"),
    [
        ({}, (), 0.0, 0.0, False),
        ({40: 1.0, 41: 1.0}, (), 0.0, 3.1, False),
        (dict.fromkeys(range(20, 40), 1.0), (), 0.0, 31.2, True),
        ({2: 0.5}, (), 50.0, 0.8, True),
        ({2: 0.1}, (), 10.0, 0.2, False),
        ({}, (50, 51), 0.0, 0.0, False),
        ({}, (2,), 0.0, 0.0, True),
    ],
    ids=["quiet", "far away", "a third of it", "sibling", "a little", "stolen far away", "stolen"],
)
def test_on_a_server_others_count_where_they_are_felt(
    server, others, steal, other, machine, disturbed
):
    programs = other_programs()
    server.work(10.0, {3: 1.0} | others, steal)  # this process keeps core 3 busy throughout
    found = programs.interference()
    assert found.other_cpu_percent == pytest.approx(other, abs=0.1)
    assert found.machine_cpu_percent == pytest.approx(machine, abs=0.1)
    assert judged(found) is disturbed


def test_unpinned_every_core_that_it_may_use_counts(server):
    server.allowed = frozenset(range(64))
    programs = other_programs()
    server.work(10.0, {3: 1.0, 40: 0.5})
    assert programs.interference().other_cpu_percent == pytest.approx(50.0, abs=0.1)


def test_accounts_that_hide_the_used_core_count_as_a_whole(server, monkeypatch):
    """A container may be shown fewer cores than it is said to run on."""
    monkeypatch.setattr(load, "core_times", lambda: {c: server.times()[c] for c in (0, 1)})
    programs = other_programs()
    server.work(10.0, {0: 1.0, 1: 0.6})
    assert programs.interference().other_cpu_percent == pytest.approx(60.0, abs=0.1)


def test_a_system_that_tells_no_cores_apart_is_taken_as_a_whole(monkeypatch):
    monkeypatch.setattr(load, "core_times", lambda: None)
    monkeypatch.setattr(load, "affinity", lambda: None)
    programs = other_programs()
    time.sleep(0.05)
    found = programs.interference()
    assert found.steal_percent is None
    assert found.other_cpu_percent >= 0
    assert found.machine_cpu_percent >= 0


def own_folder(place):
    return place / f"fofa-profilers-{os.getuid()}"


def test_alone_nobody_is_seen_and_nothing_is_left_behind(tmp_path):
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 0
        assert len(list(own_folder(tmp_path).iterdir())) == 1
    assert list(own_folder(tmp_path).iterdir()) == []


def test_both_sides_see_each_other(tmp_path, other):
    assert other.stdout.readline().strip() == "0"
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 1
        print(file=other.stdin, flush=True)
        assert other.stdout.readline().strip() == "1"


def test_a_killed_one_is_forgotten(tmp_path, other):
    other.stdout.readline()
    other.kill()
    other.wait()
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 0
        assert len(list(own_folder(tmp_path).iterdir())) == 1


def test_a_recycled_process_number_does_not_count(tmp_path):
    parent = psutil.Process().parent()
    own_folder(tmp_path).mkdir(mode=0o755)
    (own_folder(tmp_path) / f"{parent.pid}-{began_seconds(parent) - 3600:.3f}.measuring").touch()
    (own_folder(tmp_path) / "nonsense.measuring").touch()
    (own_folder(tmp_path) / f"{'9' * 400}-{'9' * 400}.measuring"[-200:]).touch()
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells it by its clock")
@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_is_set_hides_nobody(other, tmp_path, monkeypatch, jump):
    """Its setting moves the moment at which the machine started, and every process with it."""
    assert other.stdout.readline()
    moved = psutil.boot_time() + jump
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: moved)
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 1


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with OtherProfilers(file) as others:
        assert others.count() == 0


def test_a_link_in_the_temporary_folder_is_not_followed(tmp_path):
    target, place = tmp_path / "target", tmp_path / "place"
    target.mkdir(mode=0o700)
    place.mkdir()
    own_folder(place).symlink_to(target)
    with OtherProfilers(place) as others:
        assert others.count() == 0
        assert list(target.iterdir()) == []
    assert target.stat().st_mode & 0o777 == 0o700


def test_a_folder_in_which_others_write_is_left_alone(tmp_path):
    own_folder(tmp_path).mkdir()
    own_folder(tmp_path).chmod(0o777)
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 0
        assert list(own_folder(tmp_path).iterdir()) == []
    assert own_folder(tmp_path).stat().st_mode & 0o777 == 0o777


def test_nobody_speaks_for_another_user(tmp_path):
    """A folder named after another user that is not theirs, or files for processes of others."""
    parent = psutil.Process().parent()
    name = f"{parent.pid}-{began_seconds(parent):.3f}.measuring"
    own_folder(tmp_path).mkdir(mode=0o755)
    (own_folder(tmp_path) / name).touch()
    strange = tmp_path / "fofa-profilers-4294967"
    strange.mkdir(mode=0o755)
    (strange / name.replace(".measuring", "0.measuring")).touch()
    os.mkfifo(strange / "fifo.measuring")
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 1


def test_a_file_planted_under_ones_own_name_is_not_written_to(tmp_path):
    others = OtherProfilers(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("content")
    own_folder(tmp_path).mkdir(mode=0o755)
    (own_folder(tmp_path) / others._own).symlink_to(victim)
    with others:
        assert victim.read_text() == "content"


@pytest.mark.parametrize("other", ["for it"], indirect=True)
def test_a_profiler_that_waits_for_this_one_does_not_disturb_it(tmp_path, other):
    assert other.stdout.readline().strip() == "0"
    with OtherProfilers(tmp_path):
        print(file=other.stdin, flush=True)
        assert other.stdout.readline().strip() == "0"
