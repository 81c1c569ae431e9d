"""The agent as it runs elsewhere, without torch, onnx and fofa; killed and resumed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import venv

import pytest
import remote_machines
from waiting import PATIENCE_SECONDS

from profilers.hardware.cores import affinity
from profilers.remote.bundle import make_bundle
from profilers.remote.request import RemoteOptions
from profilers.remote.samples import read_run


def agent(python, folder, *arguments, code=0):
    done = subprocess.run(
        [python, "agent.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == code, done.stderr
    return done


def test_it_measures_every_item_in_every_round_and_says_on_what(finished, bundle):
    run = read_run(finished)
    assert len(run.rounds) == run.header.plan.rounds == 6
    for round_ in run.rounds:
        assert {visit.item for visit in round_.visits} == {
            bundle.workload.canary.name,
            *(item.name for item in bundle.workload.items),
        }
    machine = run.header.machine
    assert machine.system.os
    assert machine.versions["python"].count(".") == 2
    assert machine.cpu.logical_cores == os.cpu_count()
    assert sum(len(kind.cores) for kind in machine.cpu.kinds) == os.cpu_count()
    assert run.protocol.runtime.startswith("onnxruntime ")
    assert run.end.resumed_rounds == 0


def test_it_shows_how_far_it_is(tmp_path, unpack, bundle, bare_python):
    done = agent(bare_python, unpack(tmp_path, bundle))
    for stage in ("building", "warming up", "measuring"):
        assert stage in done.stderr
    assert "finished" in done.stderr
    assert done.stdout == ""
    again = agent(bare_python, tmp_path)
    assert again.stderr.count("\n") == 1
    assert "finished" in again.stderr


def test_a_line_that_was_cut_short_is_measured_again(tmp_path, unpack, bundle, bare_python):
    folder = unpack(tmp_path, bundle)
    agent(bare_python, folder)
    samples = folder / "samples.jsonl"
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join(lines[:4]) + lines[4][: len(lines[4]) // 2])
    agent(bare_python, folder)
    assert samples.read_bytes().startswith(b"".join(lines[:4]))
    run = read_run(samples)
    assert run.end.resumed_rounds == 3
    assert len(run.rounds) == 6


def test_samples_of_another_bundle_are_not_continued(
    tmp_path, unpack, bundle, finished, bare_python
):
    other = make_bundle(remote_machines.request(), RemoteOptions(batch_size=2))
    folder = unpack(tmp_path, other)
    (folder / "samples.jsonl").write_bytes(finished.read_bytes())
    done = agent(bare_python, folder, code=2)
    assert "holds another measurement; --fresh discards it" in done.stderr
    agent(bare_python, folder, "--fresh")
    assert read_run(folder / "samples.jsonl").protocol.batch_size == 2


@pytest.mark.skipif(affinity() is None, reason="no pinning on this system")
def test_it_stays_on_the_cores_that_it_is_given(tmp_path, unpack, bare_python):
    core = max(affinity())
    folder = unpack(
        tmp_path, make_bundle(remote_machines.request(), RemoteOptions(cores=str(core)))
    )
    agent(bare_python, folder)
    assert read_run(folder / "samples.jsonl").header.pinned_cores == [core]
    done = agent(bare_python, folder, "--cores", "4090", code=2)
    assert "this machine has" in done.stderr
    done = agent(bare_python, folder, "--cores", "fast", code=2)
    assert "expected a list such as 4-7" in done.stderr
    assert done.stderr.count("\n") == 1


def test_with_little_memory_networks_are_opened_for_their_visit(
    tmp_path, unpack, bundle, bare_python
):
    folder = unpack(tmp_path, bundle)
    text = (folder / "agent.py").read_text()
    assert "MEMORY_SHARE = 0.7" in text
    (folder / "agent.py").write_text(text.replace("MEMORY_SHARE = 0.7", "MEMORY_SHARE = 0.0"))
    agent(bare_python, folder)
    assert len(read_run(folder / "samples.jsonl").rounds) == 6


def test_without_the_runtime_it_says_what_to_install(tmp_path, unpack, bundle):
    folder = unpack(tmp_path, bundle)
    hide = (
        "import importlib.util, runpy; find = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda name: None if name == 'onnxruntime' else find(name); "
        "runpy.run_path('agent.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", hide], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        2,
        "agent: error: onnxruntime is not installed: pip install onnxruntime\n",
    )


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_in_the_middle_it_goes_on_and_loses_no_round(tmp_path, unpack, bare_python, kills):
    settings, num_rounds = remote_machines.SETTINGS, 6 * kills
    long = type(settings)(
        **{
            name: getattr(settings, name)
            for name in ("calibration_networks", "validation_networks", "repeats", "sessions")
        },
        min_rounds=num_rounds,
        max_rounds=num_rounds,
        visit_ms=20.0,
        max_samples=40,
    )
    bundle = make_bundle(remote_machines.request(long), RemoteOptions())
    folder = unpack(tmp_path, bundle)
    samples, rng = folder / "samples.jsonl", random.Random(kills)
    seen, written = b"", 0
    for _ in range(kills):
        process = subprocess.Popen([bare_python, "agent.py"], cwd=folder, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (samples.exists() and samples.read_bytes().count(b"\n") > written):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = samples.read_bytes()
        assert now.startswith(seen)
        seen = now[: now.rfind(b"\n") + 1]
        written = seen.count(b"\n")
    agent(bare_python, folder)
    assert samples.read_bytes().startswith(seen)
    run = read_run(samples)
    assert run.end.resumed_rounds == written - 1
    assert [round_.number for round_ in run.rounds] == list(range(num_rounds))


def test_two_agents_do_not_write_into_one_file(tmp_path, unpack, bundle, bare_python):
    folder = unpack(tmp_path, bundle)
    code = (
        "import fcntl, sys, time; file = open('samples.jsonl', 'a+b'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        done = agent(bare_python, folder, code=3)
        holder.stdin.close()
    assert "another agent measures into it" in done.stderr


@pytest.mark.slow
def test_an_environment_of_numpy_and_onnxruntime_is_enough(tmp_path, unpack, bundle):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    if done.returncode:
        pytest.skip(f"no packages can be installed here: {done.stderr[-200:]}")
    (tmp_path / "unpacked").mkdir()
    folder = unpack(tmp_path / "unpacked", bundle)
    agent(python, folder)
    run = read_run(folder / "samples.jsonl")
    header = json.loads((folder / "samples.jsonl").read_text().splitlines()[0])
    assert header["bundle"] == bundle.id
    assert len(run.rounds) == 6
