"""Who else is at work is noticed: other programs, and other profilers by both sides."""

import subprocess
import sys
import time

import psutil
import pytest

from profilers.measuring.interference import OtherProfilers, OtherPrograms

HOLD = """
import sys
from pathlib import Path
from profilers.measuring.interference import OtherProfilers
with OtherProfilers(Path(sys.argv[1])) as others:
    print(others.count(), flush=True)
    sys.stdin.readline()
    print(others.count(), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_work_of_others_is_seen_and_ones_own_is_not():
    programs = OtherPrograms()
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
    assert busy.other_cpu_percent > 20
    assert own.other_cpu_percent >= 0
    assert own.steal_percent is None or own.steal_percent >= 0


def test_alone_nobody_is_seen_and_nothing_is_left_behind(tmp_path):
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 0
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


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
        assert len(list(tmp_path.iterdir())) == 1


def test_a_recycled_process_number_does_not_count(tmp_path):
    parent = psutil.Process().parent()
    (tmp_path / f"{parent.pid}.measuring").write_text(f"{parent.create_time() - 3600}\n")
    (tmp_path / "nonsense.measuring").write_text("?")
    with OtherProfilers(tmp_path) as others:
        assert others.count() == 0


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with OtherProfilers(file / "folder") as others:
        assert others.count() == 0
