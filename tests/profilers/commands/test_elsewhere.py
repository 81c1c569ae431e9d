"""`fofa-profile` about other machines, as a person has it: bundles, samples, addresses."""

import json
import shutil
import subprocess
import zipfile

import onnx
import pytest
import remote_machines
from in_process import run_here
from waiting import PATIENCE_SECONDS

from fofa.latency import Lut
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, network_blocks, parse_subnet
from profilers.commands.profile import main
from profilers.measuring.samples import read_samples

TINY = ["--resolutions", "32", "--width-mult", "0.25", "--num-classes", "10"]
QUICK = [*TINY, "--budget-seconds", "1", "--session-gap", "0"]


def profile(*arguments, code=0, cwd=None, programs=None):
    environment = remote_machines.environment(programs or "/nowhere")
    done = run_here(main, "fofa-profile", *arguments, cwd=cwd, **environment)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return remote_machines.bare_python(tmp_path_factory.mktemp("bare"))


def bring_back(folder, python, *options):
    """The samples that the agent of a bundle wrote."""
    done = profile("--bundle", folder / "pi.zip", "--device", "pi4", *QUICK, *options)
    assert "python agent.py" in " ".join(done.stdout.split())
    unpacked = folder / "there"
    zipfile.ZipFile(folder / "pi.zip").extractall(unpacked)
    subprocess.run([python, "agent.py"], cwd=unpacked, check=True, timeout=PATIENCE_SECONDS)
    return unpacked / "samples.jsonl"


@pytest.fixture(scope="module")
def brought_back(tmp_path_factory, python):
    return bring_back(tmp_path_factory.mktemp("bundle"), python)


def test_a_bundle_goes_and_its_samples_become_a_table(brought_back, tmp_path):
    out = tmp_path / "pi.json"
    done = profile("--import", brought_back, "--out", out)
    lut = Lut.read(out)
    assert "pi4 (measured)" in done.stdout
    assert lut.device.requested == "pi4"
    assert lut.method == "measured"
    assert lut.protocol.plugin == "onnxruntime"
    assert lut.device.measured_on["carried_by"] == "bundle"
    assert lut.validation is not None
    samples = read_samples(tmp_path / lut.raw_samples)
    assert len(samples.rounds) == lut.device.measured_on["measurement"]["rounds"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pi.json", "pi.samples.json.gz"]
    again = tmp_path / "again.json"
    profile("--import", brought_back, "--out", again)
    assert Lut.read(again).entries == lut.entries


def test_a_machine_over_ssh_gets_a_table_tested_by_a_second_session(
    tmp_path, python, sshd, brought_back
):
    out = tmp_path / "board.json"
    options = ["--option", f"python={python}", *QUICK]
    profile("--device", sshd.address, "--out", out, *options, programs=sshd.programs)
    lut = Lut.read(out)
    assert lut.device.requested == "board"
    assert sshd.address.split("/")[-1].split("@")[0] not in json.dumps(lut.device.measured_on)
    assert lut.device.measured_on["carried_by"] == "ssh"
    assert len(lut.device.measured_on["measurement"]["sessions"]) == 1
    assert lut.validation.between_sessions is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "board.json",
        "board.samples.json.gz",
    ]
    imported = tmp_path / "pi.json"
    profile("--import", brought_back, "--out", imported)
    compared = json.loads(profile("--lut", out, "--compare", imported, "--json").stdout)
    assert compared["differences"] == []


@pytest.mark.slow
def test_int8_goes_in_a_bundle_and_over_a_link_and_its_tables_are_of_int8(tmp_path, python):
    imported, linked = tmp_path / "imported.json", tmp_path / "linked.json"
    samples = bring_back(tmp_path, python, "--dtype", "int8")
    profile("--import", samples, "--out", imported)
    there = ["--device", "local:", "--option", f"python={python}", "--sessions", "1"]
    profile(*there, "--dtype", "int8", "--out", linked, *QUICK)
    assert [Lut.read(path).protocol.dtype for path in (imported, linked)] == ["int8", "int8"]
    compared = json.loads(profile("--lut", linked, "--compare", imported, "--json").stdout)
    assert compared["differences"] == []


def test_a_network_is_timed_elsewhere(tmp_path, python):
    path = tmp_path / "net.onnx"
    config = NetworkConfig(width_mult=0.25, num_classes=10)
    onnx.save(build_model(network_blocks(parse_subnet("23432"), 32, config), 1), path)
    done = profile(
        "--network", path, "--device", "local:", "--option", f"python={python}", "--json",
        "--budget-seconds", "1",
    )  # fmt: skip
    timing = json.loads(done.stdout)
    assert timing["latency_ms"] > 0
    assert timing["protocol"]["plugin"] == "onnxruntime"


def test_require_match_stops_before_anything_is_written(brought_back, tmp_path):
    data = [json.loads(line) for line in brought_back.read_text().splitlines()]
    data[0]["request"]["device"] = "epyc7763"
    data[0]["machine"]["cpu"]["model"] = "Zilog Z80"
    changed = tmp_path / "samples.jsonl"
    changed.write_text("".join(json.dumps(line) + "\n" for line in data))
    out = tmp_path / "t.json"
    done = profile("--import", changed, "--out", out, "--require-match", code=2)
    assert "Zilog Z80; --require-match stops here" in done.stderr
    assert not out.exists()
    done = profile("--import", changed, "--out", out)
    assert "Zilog Z80; the table will say so" in " ".join(done.stderr.split())
    assert Lut.read(out).device.matches is False


def test_hostile_samples_are_one_line_and_exit_code_2(brought_back, tmp_path):
    lines = brought_back.read_text().splitlines()
    lines[1] = lines[1].replace("[", "[1e999,", 1)
    hostile = tmp_path / "samples.jsonl"
    hostile.write_text("\n".join(lines))
    done = profile("--import", hostile, "--out", tmp_path / "t.json", code=2)
    assert done.stderr.count("\n") == 1
    assert "samples.jsonl: line 2" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "ssh://a b", "--out", "t.json"], "expected ssh://user@host[:port]"),
        (
            ["--device", "ssh://127.0.0.1:1", "--out", "t.json", *TINY],
            "ssh: not reached" if shutil.which("ssh") else "ssh is not installed here",
        ),
        (["--device", "adb:X", "--out", "t.json", *TINY], "adb"),
        (["--device", "local:"], "give --device and --out"),
        (["--device", "local:", "--out", "t.json", "--option", "x=1"], "known elsewhere: cores"),
        (["--device", "local:", "--out", "t.json", "--option", "cores=a"], "such as 4-7"),
        (["--device", "local:", "--out", "t.json", "--option", "cores=0-99999"], "such as 4-7"),
        (["--device", "local:", "--out", "t.json", "--option", "cores=4000", *TINY], "cores 4000"),
        (["--device", "local:", "--out", "t.json", "--option", "python=-c"], "an interpreter"),
        (["--device", "local:", "--out", "t.json", "--option", "python=/no/x", *TINY], "/no/x"),
        (["--device", "local:", "--out", "t.json", "--plugin", "cuda"], "runs onnxruntime only"),
        (["--device", "openvino", "--bundle", "b.zip"], "runs onnxruntime only"),
        (["--device", "local:", "--out", "t.json", "--dtype", "bf16"], "one of fp32, fp16, int8"),
        (["--bundle", "b.zip"], "give --device and --out"),
        (["--bundle", "b.zip", "--device", "a/b"], "expected a name of letters"),
        (["--bundle", "b.zip", "--device", "pi", "--threads", "0"], "expected 1 or more"),
        (["--bundle", "b.zip", "--device", "pi", "--out", "t.json"], "leave out --out"),
        (["--import", "none.jsonl", "--out", "t.json"], "none.jsonl: no such file"),
        (["--import", "none.jsonl", "--out", "t.json", "--device", "pi"], "--import takes --out"),
        (["--import", "none.jsonl"], "give --device and --out"),
        (["--import", "none.jsonl", "--out", "t.json", "--threads", "2"], "--import takes --out"),
    ],
)
def test_what_a_person_gets_wrong_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    done = profile(*arguments, code=2, cwd=tmp_path)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
