"""`fofa-profile` as a person has it: real processes, real runtimes, exact exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import ofa_files
import onnx
import pytest
from in_process import run_here
from waiting import PATIENCE_SECONDS

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, network_blocks, parse_subnet
from profilers.commands.profile import main
from profilers.measuring import energy
from profilers.measuring.samples import partial_path
from profilers.plugin import EnergyCounter
from profilers.plugins import cpu_session

COMMAND = [sys.executable, "-m", "profilers.commands.profile"]
TINY = ["--resolutions", "32", "--width-mult", "0.25", "--num-classes", "10"]
QUICK = [*TINY, "--budget-seconds", "1", "--session-gap", "0"]
BRIEF = ["--budget-seconds", "0.5"]
ALONE = [*QUICK, "--sessions", "1"]
ATTEMPTS = 3


def profile(*arguments, code=0, cwd=None):
    done = run_here(main, "fofa-profile", *arguments, cwd=cwd)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def measure(out, *arguments, code=0):
    """Measure a table; where others leave the machine no time for it, that is not tested here."""
    command = [*COMMAND, "--out", str(out), *map(str, arguments)]
    for _ in range(ATTEMPTS):
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=out.parent, timeout=PATIENCE_SECONDS
        )
        assert "Traceback" not in done.stderr
        if out.exists():
            assert code is None or done.returncode == code, done.stderr
            return done
        assert done.returncode == 1, done.stderr
        assert "not written, because" in done.stderr
    pytest.skip("this machine is too busy to measure anything on it")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("measured") / "cpu.json"
    return out, measure(out, "--device", "epyc7763", *QUICK)


def test_a_table_is_measured_written_and_summed_up(measured):
    out, done = measured
    lut = Lut.read(out)
    assert lut.device.requested == "epyc7763"
    assert lut.device.matches is ("EPYC 7763" in lut.device.measured_on["cpu"]["model"])
    assert lut.validation is not None
    assert lut.stability is not None
    assert lut.validation.between_sessions.networks == 12
    assert lut.validation.uncertainty.degrees_of_freedom > 0
    for text in ("error", "another session", "margin", "noise", "stable", "cpu.json"):
        assert text in done.stdout
    if not lut.device.matches:
        assert "warning: epyc7763 expects an AMD EPYC 7763 CPU" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_one_session_alone_says_nothing_of_others(tmp_path):
    out = tmp_path / "t.json"
    measure(out, "--device", "cpu", *ALONE)
    lut = Lut.read(out)
    assert lut.validation.between_sessions is None
    assert lut.validation.within_session.networks == 8
    assert lut.interval_ms(next(lut.search_space.architectures())) is not None


def test_the_samples_stay_and_the_partial_file_goes(measured):
    out, _ = measured
    assert (out.parent / Lut.read(out).raw_samples).exists()
    assert not partial_path(out).exists()


def test_require_match_stops_before_anything_is_written(tmp_path, measured):
    out = tmp_path / "t.json"
    if Lut.read(measured[0]).device.matches:  # this machine is one
        profile("--device", "epyc7763", "--out", out, "--require-match", *QUICK)
        return
    done = profile("--device", "epyc7763", "--out", out, "--require-match", *QUICK, code=2)
    assert "--require-match" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_strict_is_1_exactly_where_the_table_says_unstable(tmp_path):
    out = tmp_path / "t.json"
    done = measure(out, "--device", "cpu", "--strict", "--json", *ALONE, code=None)
    stability = Lut.read(out).stability
    assert done.returncode == (0 if stability.stable else 1)
    assert json.loads(done.stdout)["stability"] == stability.model_dump()


@pytest.mark.slow
def test_the_energy_of_networks_is_measured_where_the_hardware_counts_it(tmp_path, monkeypatch):
    """This process's own work stands for a counter, and short windows for long ones."""
    watts, out = 30.0, tmp_path / "t.json"
    counter = EnergyCounter("RAPL package-0", lambda: watts * time.process_time())
    monkeypatch.setattr(cpu_session, "processor_counter", lambda: nullcontext(counter))
    monkeypatch.setattr(energy, "WINDOW_SECONDS", 0.02)
    monkeypatch.setattr(energy, "WARMUP_SECONDS", 0.0)
    arguments = ["--device", "cpu", "--energy", "--out", out, *ALONE]
    done = run_here(main, "fofa-profile", *arguments)
    if done.returncode == 1:
        pytest.skip("this machine is too busy to measure anything on it")
    assert done.returncode == 0, done.stderr
    lut = Lut.read(out)
    assert lut.energy.source == "RAPL package-0"
    assert len(lut.energy.measured_mj) == 24
    assert lut.energy_mj(next(lut.search_space.architectures())) > 0
    assert "of an image, by RAPL package-0" in " ".join(done.stdout.split())


def test_where_nothing_counts_energy_a_table_with_it_is_refused(tmp_path, monkeypatch):
    def refuse():
        raise UserError("the processor's energy cannot be read: no RAPL here")

    monkeypatch.setattr(cpu_session, "processor_counter", refuse)
    done = profile("--device", "cpu", "--energy", "--out", tmp_path / "t.json", *TINY, code=2)
    assert "no RAPL here" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # tests/profilers/tables/test_build.py has a busy machine that is simulated
def test_load_beside_it_makes_it_unstable(tmp_path):
    out = tmp_path / "t.json"
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        command = [*COMMAND, "--device", "cpu", "--out", str(out), "--strict", *ALONE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert done.returncode == 1, done.stderr
    if not out.exists():
        assert "not written, because" in done.stderr
        return
    stability = Lut.read(out).stability
    assert not stability.stable
    assert any("other programs used the CPU" in reason for reason in stability.reasons)


def test_a_killed_run_resumes(tmp_path):
    out = tmp_path / "t.json"
    command = [*COMMAND, "--device", "cpu", "--out", str(out), *ALONE, "--budget-seconds", "8"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial, deadline = partial_path(out), time.monotonic() + PATIENCE_SECONDS
    while not (partial.exists() and partial.read_bytes().count(b"\n") >= 4):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = partial.read_bytes().count(b"\n") - 1
    assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    if "not written, because" in done.stderr:
        pytest.skip("this machine is too busy to measure anything on it")
    assert done.returncode == 0, done.stderr
    facts = Lut.read(out).device.measured_on["measurement"]
    assert facts["resumed_rounds"] == finished
    assert facts["rounds"] > finished
    assert not partial.exists()


def test_published_tables_are_imported(tmp_path):
    out, source = tmp_path / "note10.json", ofa_files.write_tables(tmp_path / "note10")
    profile("--device", "note10", "--source", source, "--out", out)
    lut = Lut.read(out)
    assert lut.method == "published"
    assert lut.space.resolutions[0] == 160
    assert len(lut.space.resolutions) == 17
    profile("--device", "note10", "--source", source, "--out", out, "--resolutions", "192,160")
    assert Lut.read(out).space.resolutions == [160, 192]
    done = profile(
        "--device", "note10", "--source", source, "--out", out, "--resolutions", "128", code=2
    )
    assert "128" in done.stderr


def test_estimates_are_written_as_such(tmp_path):
    out = tmp_path / "a100.json"
    profile("--device", "a100", "--plugin", "roofline", "--out", out)
    lut = Lut.read(out)
    assert (lut.method, lut.device.requested, lut.device.matches) == ("estimated", "a100", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --device and --out"),
        (["--device", "cpu"], "give --device and --out"),
        (["--device", "nope", "--out", "t.json"], "unknown device 'nope'"),
        (["--device", "cpu", "--plugin", "nope", "--out", "t.json"], "unknown plugin 'nope'"),
        (["--device", "cpu", "--out", "t.json", "--resolutions", "a"], "expected sizes in pixels"),
        (["--device", "cpu", "--out", "t.json", "--resolutions", "1"], "expected 8 to 4096 px"),
        (["--device", "cpu", "--out", "t.json", "--space", "open"], "compound, elastic"),
        (["--device", "cpu", "--out", "t.json", "--width-mult", "0"], "width_mult"),
        (["--device", "cpu", "--out", "t.json", "--width-mult", "nan"], "width_mult"),
        (["--device", "cpu", "--out", "t.json", "--num-classes", "1"], "at least 2"),
        (["--device", "cpu", "--out", "t.json", "--threads", "0"], "0 threads"),
        (["--device", "cpu", "--out", "t.json", "--batch-size", "-1"], "batch size -1"),
        (["--device", "cpu", "--out", "t.json", "--dtype", "int3"], "dtype 'int3'"),
        (["--device", "cpu", "--out", "t.json", "--budget-seconds", "nan"], "budget"),
        (["--device", "cpu", "--out", "t.json", "--budget-seconds", "1e308"], "30 days at most"),
        (["--device", "cpu", "--out", "t.json", "--batch-size", "9" * 20], "65536 at most"),
        (["--device", "cpu", "--out", "t.json", "--threads", "9" * 20], "1024 at most"),
        (["--device", "cpu", "--out", "t.json", "--option", "x"], "expected NAME=VALUE"),
        (["--device", "cpu", "--out", "t.json", "--sessions", "0"], "0 sessions: expected 1 to"),
        (["--device", "cpu", "--out", "t.json", "--session-gap", "-1"], "gap of -1 seconds"),
        (["--device", "cpu", "--out", "t.json", "--lut", "l.json"], "goes with --network"),
        (["--device", "cpu", "--out", "t.json", "--compare", "l.json"], "l.json: no such file"),
        (["--lut", "l.json", "--compare", "m.json"], "no such file"),
        (["--device", "cpu", "--out", "."], "is a folder"),
        (["--device", "local:", "--out", "t.json", "--energy"], "measured on this machine"),
        (["--network", "none.onnx", "--energy"], "measured on this machine"),
        (["--device", "roofline", "--out", "t.json", "--energy"], "runs nothing"),
        (["--network", "none.onnx"], "none.onnx"),
        (["--network", "none.onnx", "--lut", "none.json"], "none.json: no such file"),
    ],
)
def test_what_a_person_gets_wrong_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    done = profile(*arguments, code=2, cwd=tmp_path)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_compared_with_an_older_one(measured, tmp_path):
    older, _ = measured
    data = json.loads(older.read_text())
    for entry in data["entries"]:
        entry["latency_ms"] *= 100  # beyond what other work on this machine can do
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps(data))
    same = json.loads(profile("--lut", older, "--compare", older, "--strict", "--json").stdout)
    assert same["agrees"] is True
    assert same["common_percent"] == same["rest_percent"] == 0
    done = profile("--lut", older, "--compare", slower)
    assert "NO, beyond what they state" in done.stdout
    profile("--lut", older, "--compare", slower, "--strict", code=1)
    out = tmp_path / "new.json"
    options = ["--device", "epyc7763", *ALONE, "--compare", slower, "--json"]
    found = json.loads(measure(out, *options).stdout)["agreement"]
    assert found["architectures"] == 243
    assert found["common_percent"] < -30


def test_the_list_names_every_device_and_why_some_are_not_here():
    done = profile("--list", "--json")
    listing = json.loads(done.stdout)
    devices = {device["name"]: device for device in listing["devices"]}
    assert {"epyc7763", "a100", "pascal", "note10", "cpu", "cuda", "tensorrt"} <= set(devices)
    assert devices["cpu"]["available"]
    for plugin in listing["plugins"]:
        assert plugin["available"] or plugin["reason"]
    assert "onnxruntime" in profile("--list").stdout


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    config = NetworkConfig(width_mult=0.25, num_classes=10)
    onnx.save(build_model(network_blocks(parse_subnet("23432"), 32, config), 1), path)
    return path


def test_one_network_is_timed_and_compared_with_a_table(measured, network):
    done = profile(
        *("--network", network, "--lut", measured[0], "--architecture", "23432@32", "--json"),
        *BRIEF,
    )
    timing = json.loads(done.stdout)
    assert timing["architecture"] == "23432@32"
    assert timing["latency_ms"] > 0
    assert timing["noise_percent"] >= 0
    error = 100 * (timing["predicted_ms"] / timing["latency_ms"] - 1)
    assert timing["error_percent"] == pytest.approx(error)
    assert timing["differences"] == []
    assert timing["low_ms"] < timing["predicted_ms"] < timing["high_ms"]
    assert timing["inside"] is (timing["low_ms"] <= timing["latency_ms"] <= timing["high_ms"])


def test_without_a_table_only_the_latency_is_told(network):
    done = profile("--network", network, *BRIEF)
    assert "latency" in done.stdout
    assert "table says" not in done.stdout


def test_a_network_that_does_not_say_what_it_is_needs_a_name(measured, network):
    done = profile("--network", network, "--lut", measured[0], code=2)
    assert "name it with --architecture" in done.stderr


def test_a_network_says_itself_what_it_is(tmp_path, measured, network):
    model = onnx.load(network)
    entry = model.metadata_props.add()
    entry.key, entry.value = "architecture", "23432@32"
    onnx.save(model, tmp_path / "named.onnx")
    done = profile("--network", tmp_path / "named.onnx", "--lut", measured[0], *BRIEF)
    assert "23432@32" in done.stdout
    assert "table says" in done.stdout
