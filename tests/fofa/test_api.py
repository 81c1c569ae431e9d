"""The Python interface and the example that shows it, on a tiny run."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from made_up_tables import with_energies
from PIL import Image
from waiting import PATIENCE_SECONDS

from fofa import api
from fofa.errors import UserError
from fofa.recalibration import keep_statistics
from fofa.runs import Run
from fofa.space import parse_architecture

pytestmark = pytest.mark.usefixtures("one_thread")
EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.py"
SMALL_BUDGETS = {
    "fofa-train": "--epoch-scale 0.0001 --train-fraction 0.05 --no-tensorboard --threads 1",
    "fofa-eval": "--limit 20 --calibration-images 20",
    "fofa-profile": "--budget-seconds 1",
}
"""What the test adds to the commands that the example names, so that they are soon done."""


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return api.open_run(make_run(tmp_path_factory.mktemp("runs") / "tiny").folder)


@pytest.fixture
def tables(make_lut, make_accuracy, tmp_path) -> tuple[Path, Path]:
    lut, accuracy = tmp_path / "lut.json", tmp_path / "accuracy.json"
    make_lut(width_mult=0.25, resolutions=(24, 32)).write(lut)
    make_accuracy(width_mult=0.25, resolutions=(24, 32)).write(accuracy)
    return lut, accuracy


def test_from_a_budget_to_a_prediction(run, tables, tmp_path) -> None:
    lut, accuracy = api.load_lut(tables[0]), api.load_accuracy(str(tables[1]))
    front = api.pareto_front(lut, accuracy)
    middle = front[len(front) // 2]
    best = api.search(lut, accuracy, max_latency_ms=middle.latency_ms)
    assert best.architecture == middle.architecture
    assert best.device == "cpu"
    network = api.extract(run, best.architecture)
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    predictions = network.predict(tmp_path / "red.png", top=2)
    assert len(predictions) == 2
    assert predictions[0].probability >= predictions[1].probability
    result = api.export(run, best.architecture, tmp_path / "n.onnx", test_images=20)
    assert result.accuracy.test_images == 20
    onnx.checker.check_model(tmp_path / "n.onnx")


def test_kept_statistics_need_no_data(make_run, tmp_path) -> None:
    run = make_run(tmp_path / "moved", data_spec="folder:nowhere")
    with pytest.raises(UserError, match="nowhere"):
        api.extract(run, "22222@24")
    architecture = parse_architecture("22222@24")
    keep_statistics(run, architecture, run.load_supernet().extract(architecture.subnet))
    assert api.extract(run, "22222@24").architecture == architecture


def test_search_without_a_limit_or_a_table(tables) -> None:
    accuracy = api.load_accuracy(tables[1])
    with pytest.raises(UserError, match="give max_latency_ms, max_macs or max_energy_mj"):
        api.search(None, accuracy)
    with pytest.raises(UserError, match="needs a latency table"):
        api.search(None, accuracy, max_latency_ms=1)
    limit = min(row.macs for row in accuracy.architectures)
    assert api.search(None, accuracy, max_macs=limit).macs == limit
    fewest = min(row.params for row in accuracy.architectures)
    assert api.search(None, accuracy, budgets=api.Budgets(params=fewest)).params == fewest
    lut = with_energies(api.load_lut(tables[0]), lambda entry: entry.latency_ms)
    least = min(lut.energy_mj(row.architecture) for row in accuracy.architectures)
    assert api.search(lut, accuracy, max_energy_mj=least).energy_mj == pytest.approx(least)


def test_files_are_read_with_their_checks(tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        api.load_lut(tmp_path / "none.json")
    with pytest.raises(UserError, match="no such file"):
        api.load_predictor(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="no such run folder"):
        api.open_run(tmp_path / "none")


@pytest.mark.slow
def test_the_example_runs_from_its_first_command_to_its_last(tmp_path) -> None:
    docstring = ast.get_docstring(ast.parse(EXAMPLE.read_text(encoding="utf-8"))) or ""
    *programs, example = [shlex.split(line) for line in docstring.splitlines()[2:]]
    assert [command[0] for command in programs] == list(SMALL_BUDGETS)
    for command in programs:
        program = Path(sysconfig.get_path("scripts")) / command[0]
        call([program, *command[1:], *SMALL_BUDGETS[command[0]].split()], tmp_path)
    Image.new("RGB", (40, 40), "blue").save(tmp_path / "blue.png")
    assert example[:2] == ["python", "examples/quickstart.py"]
    printed = call([sys.executable, EXAMPLE, *example[2:], "--image", "blue.png"], tmp_path)
    assert "ms (measured)" in printed
    assert "network.onnx: logits within" in printed
    assert (tmp_path / "network.onnx").is_file()


def call(command: Sequence[str | Path], folder: Path) -> str:
    """What a program prints that ends well in `folder`, on one thread."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
