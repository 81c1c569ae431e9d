"""A study is resumable at any step, redoes nothing that is whole, and reports what it has."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from waiting import PATIENCE_SECONDS

from bench.commands.reproduce import app as reproduce_app
from bench.reproduce.carry_out import Report, carry_out, report
from bench.reproduce.plan import (
    EvaluateOptions,
    Job,
    PassedOn,
    Study,
    TrainOptions,
    checked_preset,
    parse_budgets,
    parse_recipes,
    parse_seeds,
    read_paces,
    state_of,
)
from fofa.accuracy import AccuracyTable
from fofa.commands.evaluate import app as evaluate_app
from fofa.commands.train import app as train_app
from fofa.errors import UserError
from fofa.recipes import RECIPES

EXPECTED = [
    (step, name)
    for name in ("ofa", "fofa-n3", "ofa-seed1", "fofa-n3-seed1")
    for step in ("train", "evaluate")
]


def no_report(study: Study, luts_dir: Path, console: Console) -> Path:
    """In place of the report, which takes longer than all that is tested here."""
    return study.out / "report.html"


def run(study: Study, commands: Any, report: Report = no_report) -> tuple[int, str]:
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    luts = study.out.parent / "luts"
    code = carry_out(study, luts_dir=luts, console=console, command=commands, report=report)
    return code, stream.getvalue()


def test_everything_is_done_once_and_in_order(study: Study, commands: Any) -> None:
    code, shown = run(study, commands, report)
    assert code == 0
    assert commands.calls == EXPECTED
    assert "0 of 8 steps done" in shown
    assert "8 of 8 steps done" in shown
    assert sorted(path.name for path in (study.out / "accuracy").iterdir()) == [
        "fofa-n3-seed1.json",
        "fofa-n3.json",
        "ofa-seed1.json",
        "ofa.json",
    ]
    table = json.loads((study.out / "tables/table2.json").read_text())
    assert [row["recipe"] for row in table["rows"] if row["cells"][0]["value"]] == [
        "ofa",
        "fofa-n3",
    ]
    commands.calls.clear()
    assert run(study, commands)[0] == 0
    assert commands.calls == []


@pytest.mark.parametrize(("stop", "code"), [(1, 130), (2, 1), (5, -9), (8, 2)])
def test_a_stopped_study_goes_on_where_it_was(
    study: Study, commands: Any, stop: int, code: int
) -> None:
    commands.failures[stop] = code
    ended, shown = run(study, commands)
    assert ended == (1 if code < 0 else code)
    assert "the same command goes on from there" in shown
    assert commands.calls == EXPECTED[:stop]
    commands.calls.clear()
    commands.failures.clear()
    assert run(study, commands)[0] == 0
    assert commands.calls == EXPECTED[stop - 1 :]


def test_a_table_of_another_training_is_made_anew(study: Study, commands: Any) -> None:
    run(study, commands)
    path = study.out / "accuracy/ofa.json"
    data = json.loads(path.read_text())
    data["training"]["epochs"] += 1
    path.write_text(json.dumps(data))
    job = next(study.jobs())
    assert state_of(job).evaluation == f"to do, replaces {path}"
    commands.calls.clear()
    run(study, commands)
    assert commands.calls == [("evaluate", "ofa")]


def test_other_settings_are_not_taken_for_done(study: Study, commands: Any) -> None:
    run(study, commands)
    other = dataclasses.replace(study, train=TrainOptions(epoch_scale=0.5))
    state = state_of(next(other.jobs()))
    assert not state.trained
    assert state.training == "other settings: epoch_scale is 0.1 there and 0.5 here"


def test_budgets_may_count_at_the_pace_of_earlier_tables(
    study: Study, commands: Any, trained_within: Callable[..., AccuracyTable], tmp_path: Path
) -> None:
    folder = tmp_path / "earlier"
    folder.mkdir()
    preset = study.preset.name
    for recipe, budget, seed in (
        *(("ofa", budget, 0) for budget in (0.1, 0.4)),
        *(("fofa-n3", budget, seed) for budget in (0.2, 0.8) for seed in (0, 1)),
    ):
        table = trained_within(recipe, budget, seed=seed, preset=preset)
        table.write(folder / f"{recipe}-{budget}-{seed}.json")
    with pytest.raises(UserError, match="no accuracy table there"):
        read_paces(tmp_path)
    paces = read_paces(folder)
    wanted = dataclasses.replace(study, budgets=(0.1, 0.2), paces=paces, seeds=(2,))
    taken = {(job.recipe, job.budget): job.pace.path for job in wanted.jobs()}
    assert taken[("ofa", 0.1)] == folder / "ofa-0.1-0.json"
    assert taken[("ofa", 0.2)] == folder / "ofa-0.4-0.json"  # the longest
    assert taken[("fofa-n3", 0.1)].name.startswith("fofa-n3-0.8")
    assert taken[("fofa-n3", 0.2)].name.startswith("fofa-n3-0.2")
    job = next(wanted.jobs())
    words = job.train_arguments()
    assert words[words.index("--pace") + 1] == str(job.pace.path)
    naive = dataclasses.replace(wanted, recipes=("naive",))
    with pytest.raises(
        UserError, match=f"earlier: no accuracy table of naive with preset {preset}"
    ):
        next(naive.jobs()).train_arguments()


def test_one_run_for_every_recipe_budget_and_seed(study: Study, commands: Any) -> None:
    wider = dataclasses.replace(study, budgets=parse_budgets("0.4,0.1"), seeds=(0, 1))
    commands.failures[6] = 130
    assert run(wider, commands)[0] == 130
    commands.failures.clear()
    code, shown = run(wider, commands)
    assert code == 0
    assert "0.1 h" in shown
    names = ["ofa-0.1h", "fofa-n3-0.1h", "ofa-0.4h", "fofa-n3-0.4h"]
    names += [f"{name}-seed1" for name in names]
    assert [name for step, name in commands.calls if step == "train"] == names
    assert sorted(path.stem for path in (study.out / "accuracy").iterdir()) == sorted(names)
    # Epochs of the same recipes are other runs, with names of their own.
    assert not any(state_of(job).trained for job in study.jobs())
    other = dataclasses.replace(wider.preset, batch_size=32)
    again = state_of(next(dataclasses.replace(wider, preset=other).jobs()))
    assert again.training == "other settings: batch_size is 64 there and 32 here"


@pytest.mark.parametrize("text", ["", "0", "-1", "0.1,,0.2", "nan", "inf", "much"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="expected hours such as"):
        parse_budgets(text)


def test_an_evaluation_of_fewer_images_is_not_taken_for_a_whole_one(
    study: Study, commands: Any
) -> None:
    run(study, commands)  # evaluates on all 10,000 images of the test set, 2,000 to calibrate
    job = next(study.jobs())
    assert state_of(job).evaluated
    for options in (EvaluateOptions(limit=1000), EvaluateOptions(calibration_images=500)):
        other = dataclasses.replace(study, evaluate=options)
        state = state_of(next(other.jobs()))
        assert state.trained
        assert not state.evaluated
    more_than_there_are = dataclasses.replace(study, evaluate=EvaluateOptions(limit=20_000))
    assert state_of(next(more_than_there_are.jobs())).evaluated
    limited = AccuracyTable.read(job.table).model_copy()
    evaluation = limited.evaluation.model_copy(update={"test_images": 1000})
    limited.model_copy(update={"evaluation": evaluation}).write(job.table)
    assert not state_of(job).evaluated
    limited_study = dataclasses.replace(study, evaluate=EvaluateOptions(limit=1000))
    assert state_of(next(limited_study.jobs())).evaluated


def test_damaged_products_are_named(study: Study, commands: Any) -> None:
    run(study, commands)
    (study.out / "accuracy/ofa.json").write_text("{")
    with pytest.raises(UserError, match=r"ofa\.json: not JSON"):
        run(study, commands)


def test_arguments_are_passed_on(study: Study) -> None:
    train = TrainOptions(train_fraction=0.1, download=True)
    job = Job(dataclasses.replace(study, train=train), "ofa", 3)
    arguments = job.train_arguments()
    assert arguments[-1] == "--download"
    options = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=True))
    assert options == {
        "--recipe": "ofa",
        "--preset": "cifar10-small",
        "--out": str(study.runs / "cifar10-small/ofa-seed3"),
        "--seed": "3",
        "--train-fraction": "0.1",
        "--device": "auto",
    }
    evaluate = EvaluateOptions(limit=1000, calibration_images=500)
    job = Job(dataclasses.replace(study, evaluate=evaluate), "ofa", 3)
    run, *words, flag = job.evaluate_arguments()
    assert (run, flag) == (str(job.run), "--outcomes")
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--out": str(study.out / "accuracy/ofa-seed3.json"),
        "--device": "auto",
        "--limit": "1000",
        "--calibration-images": "500",
    }


@pytest.mark.parametrize(
    ("options", "program"), [(TrainOptions, train_app), (EvaluateOptions, evaluate_app)]
)
def test_what_is_passed_on_is_an_option_here_and_of_the_step(
    options: type[PassedOn], program: typer.Typer
) -> None:
    known = [
        {parameter.name for parameter in typer.main.get_command(app).params}
        for app in (reproduce_app, program)
    ]
    for name in options.model_fields:
        assert all(name in names for names in known), name


def test_choices_are_checked() -> None:
    assert checked_preset("shapes", None).name == "shapes"
    with pytest.raises(UserError, match="name it with --data"):
        checked_preset("imagenet", None)
    assert parse_recipes("sandwich, ofa") == ("ofa", "sandwich")
    assert parse_recipes(None) == tuple(RECIPES)
    assert parse_seeds("3,0,3") == (3, 0)
    for wrong in ("", "a", "1,,2", "-1", "²"):
        with pytest.raises(UserError, match="seeds"):
            parse_seeds(wrong)
    for wrong in ("", "nofa", "ofa,nofa"):
        with pytest.raises(UserError, match="expected some of"):
            parse_recipes(wrong)


CHILD = """
import signal, sys, time
def stop(*_):
    print("saved", flush=True)
    sys.exit({code})
{listen}
print("ready", flush=True)
time.sleep(600)
"""
PARENT = """
import sys
from bench.reproduce.carry_out import run_module
code = run_module("slow_child", [])
print(code)
"""
LISTEN = "signal.signal(signal.SIGTERM, stop)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_DFL)"


@pytest.mark.parametrize(
    ("listen", "code", "said"),
    [
        pytest.param(LISTEN, 130, "saved\n130\n", id="it saves"),
        pytest.param(LISTEN, 0, "saved\n130\n", id="it was done in that moment"),
        pytest.param(LISTEN, 2, "saved\n2\n", id="it failed in that moment"),
        pytest.param(DEAF, 0, "130\n", id="it had not begun"),
    ],
)
def test_a_stop_signal_reaches_the_step_and_is_waited_for(
    tmp_path: Path, listen: str, code: int, said: str
) -> None:
    (tmp_path / "slow_child.py").write_text(CHILD.format(listen=listen, code=code))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(signal.SIGTERM)
    assert parent.communicate(timeout=PATIENCE_SECONDS)[0] == said


STARTING = """
import os, signal, subprocess
from bench.reproduce import carry_out
class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        super().__init__(*arguments, **options)
subprocess.Popen = Popen
print(carry_out.run_module("slow_child", []))
"""


def test_a_signal_that_comes_before_the_step_stops_it(tmp_path: Path) -> None:
    (tmp_path / "slow_child.py").write_text(CHILD.format(listen="", code=0))
    done = subprocess.run(
        [sys.executable, "-c", STARTING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout.splitlines()[-1] == "130", done.stderr
