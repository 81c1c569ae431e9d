"""Two profilers at once on one machine are noticed, by both."""

import subprocess
import sys

import psutil
import pytest

from profilers.measuring.presence import Presence

HOLD = """
import sys
from pathlib import Path
from profilers.measuring.presence import Presence
with Presence(Path(sys.argv[1])) as presence:
    print(presence.others(), flush=True)
    sys.stdin.readline()
    print(presence.others(), flush=True)
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


def test_alone_nobody_is_seen_and_nothing_is_left_behind(tmp_path):
    with Presence(tmp_path) as presence:
        assert presence.others() == 0
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_both_sides_see_each_other(tmp_path, other):
    assert other.stdout.readline().strip() == "0"
    with Presence(tmp_path) as presence:
        assert presence.others() == 1
        print(file=other.stdin, flush=True)
        assert other.stdout.readline().strip() == "1"


def test_a_killed_one_is_forgotten(tmp_path, other):
    other.stdout.readline()
    other.kill()
    other.wait()
    with Presence(tmp_path) as presence:
        assert presence.others() == 0
        assert len(list(tmp_path.iterdir())) == 1


def test_a_recycled_process_number_does_not_count(tmp_path):
    parent = psutil.Process().parent()
    (tmp_path / f"{parent.pid}.measuring").write_text(f"{parent.create_time() - 3600}\n")
    (tmp_path / "nonsense.measuring").write_text("?")
    with Presence(tmp_path) as presence:
        assert presence.others() == 0


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with Presence(file / "folder") as presence:
        assert presence.others() == 0
