"""The plugin of docs/add-a-device.md, installed as anybody's package is, measures a table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

from fofa.latency import Lut, required_keys

PACKAGE = Path(__file__).parent / "example_plugin"
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "add-a-device.md"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Environment variables under which the example is installed, beside what is here."""
    folder = tmp_path_factory.mktemp("installed")
    sources = tmp_path_factory.mktemp("sources")
    for file in PACKAGE.glob("*.*"):  # building writes into the package's folder
        (sources / file.name).write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(folder), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def fofa_profile(environment, *arguments):
    command = [sys.executable, "-m", "profilers.commands.profile", *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def test_it_is_listed_and_was_not_before(environment):
    listed = fofa_profile(environment, "--list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "torch-cpu" in listed.stdout
    assert "torch-cpu" not in fofa_profile(dict(os.environ), "--list", "--json").stdout


def test_it_keeps_to_the_protocol(environment):
    code = (
        "from profilers.conformance import check_plugin\n"
        "from profilers.plugin import PluginOptions\n"
        "from fofa_torch_cpu import PLUGIN\n"
        "print(check_plugin(PLUGIN, PluginOptions(batch_size=2)).available)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.slow
def test_it_measures_a_table(environment, tmp_path):
    out = tmp_path / "table.json"
    done = fofa_profile(
        environment, "--device", "torch-cpu", "--out", out, "--resolutions", 32,
        "--width-mult", 0.25, "--num-classes", 10, "--budget-seconds", 0.5, "--sessions", 1,
    )  # fmt: skip
    if "not written, because" in done.stderr:
        pytest.skip("this machine is too busy to measure anything on it")
    assert done.returncode == 0, done.stderr
    lut = Lut.read(out)
    assert lut.method == "measured"
    assert lut.device.requested == lut.protocol.plugin == "torch-cpu"
    assert all(lut.block_ms(32, key) > 0 for key in required_keys(lut.search_space))
    assert lut.validation is not None
    assert json.loads(out.read_text())["device"]["matches"] is None


def test_an_option_that_it_does_not_take_is_one_line(environment, tmp_path):
    done = fofa_profile(
        environment, "--device", "torch-cpu", "--out", tmp_path / "t.json", "--dtype", "fp16"
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("fofa-profile: torch-cpu: expected")


def test_the_guide_shows_the_package_as_it_is():
    guide = GUIDE.read_text()
    for file in ("pyproject.toml", "fofa_torch_cpu.py"):
        assert (PACKAGE / file).read_text().strip() in guide
