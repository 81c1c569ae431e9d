"""The winner of a search, built and really timed here by the profiler's own program."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from in_process import run_here
from made_up_tables import in_int8, int8_evaluation
from rich.console import Console

from fofa.commands import search
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.runs import Run
from fofa.runtime.graph import build_model
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve
from fofa.space import NetworkConfig, network_blocks, parse_architecture
from fofa.verify import Verdict, print_verdicts, verify


@pytest.fixture
def run(make_run, tmp_path) -> Run:
    return make_run(tmp_path / "run")


@pytest.fixture
def lut(make_lut, tmp_path) -> Lut:
    """A made-up table, which is far from this machine's times."""
    made = make_lut(width_mult=0.25, resolutions=(24, 32))
    made.write(tmp_path / "lut.json")
    return made


@pytest.fixture
def row(lut, make_accuracy, tmp_path):
    """The winner of a search with the table."""
    accuracy = make_accuracy(width_mult=0.25, resolutions=(24, 32))
    target = Target(name=str(tmp_path / "lut.json"), lut=lut, limit_ms=2.0)
    return solve(Problem(accuracy=accuracy, targets=(target,))).results[0]


def test_predicted_and_measured_side_by_side(row, run, lut) -> None:
    verdict = verify(row, run, lut)
    assert verdict.predicted_ms == row.latency_ms
    assert verdict.measured_ms > 0
    assert verdict.error_percent == pytest.approx(
        100 * (verdict.predicted_ms / verdict.measured_ms - 1)
    )
    assert verdict.holds == (verdict.measured_ms <= 2.0)


@pytest.mark.slow
def test_a_winner_of_int8_is_built_and_timed_in_int8(
    run, make_lut, make_accuracy, tmp_path, monkeypatch
) -> None:
    files, timed, start = [tmp_path / "lut.json", tmp_path / "int8.json"], [], subprocess.run
    in_int8(make_lut(width_mult=0.25, resolutions=(24, 32))).write(files[0])
    make_accuracy(width_mult=0.25, resolutions=(24, 32), evaluation=int8_evaluation()).write(
        files[1]
    )

    def run_and_note(command, **options) -> subprocess.CompletedProcess[str]:
        model = onnx.load(command[command.index("--network") + 1])
        done = start(command, **options)
        timed.append((model, json.loads(done.stdout)))
        return done

    monkeypatch.setattr(subprocess, "run", run_and_note)
    options = ["--lut", files[0], "--accuracy", files[1], "--max-latency", 10_000]
    options += ["--run", run.folder, "--verify", "--json"]
    done = run_here(search.main, "fofa-search", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    [[model, timing], [row], [verdict]] = timed[0], result["results"], result["verification"]
    assert (row["dtype"], timing["protocol"]["dtype"]) == ("int8", "int8")
    assert verdict["measured_ms"] == timing["latency_ms"]
    assert not [text for text in verdict["warnings"] if "dtype" in text]
    network = parse_architecture(row["timed_as"])
    config = NetworkConfig(width_mult=0.25, num_classes=run.record.supernet.num_classes)
    built = build_model(network_blocks(network.subnet, network.resolution, config), 1, "int8")
    assert model.graph.node == built.graph.node


def fake_profile(monkeypatch, *, code: int = 0, out: str = "", err: str = "") -> None:
    """Stand in for the timing process."""

    def run_process(command, **_) -> subprocess.CompletedProcess[str]:
        assert Path(command[0]).stem == "fofa-profile"
        Lut.read(Path(command[command.index("--lut") + 1]))
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(subprocess, "run", run_process)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"code": 2, "err": "fofa-profile: no such runtime\n"}, "no such runtime"),
        ({"code": 1}, "no reason"),
        ({"out": "not JSON"}, "no usable result"),
        ({"out": "{}"}, "no usable result"),
        ({"out": "[]"}, "no usable result"),
    ],
)
def test_a_timing_that_fails_is_one_line(row, run, lut, monkeypatch, result, message) -> None:
    fake_profile(monkeypatch, **result)
    with pytest.raises(UserError, match=message):
        verify(row, run, lut)


TIMING = {
    "latency_ms": 1.0,
    "noise_percent": 1.0,
    "differences": [],
    "stability": {"stable": True, "reasons": []},
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latency_ms", 0),
        ("latency_ms", -1.0),
        ("latency_ms", float("nan")),
        ("latency_ms", None),
        ("noise_percent", "much"),
        ("noise_percent", float("inf")),
        ("differences", None),
        ("differences", "none"),
        ("stability", True),
        ("stability", {"reasons": []}),
    ],
)
def test_a_timing_of_another_form_is_refused_by_the_field(
    row, run, lut, monkeypatch, field: str, value: object
) -> None:
    fake_profile(monkeypatch, out=json.dumps(TIMING | {field: value}))
    with pytest.raises(UserError, match=f"no usable result: field {field}"):
        verify(row, run, lut)


def test_a_table_that_was_replaced_meanwhile_is_not_compared_with(
    row, run, lut, make_lut, monkeypatch, tmp_path
) -> None:
    """The prediction, the batch size and the process that times take the table of the search."""
    make_lut(width_mult=0.5, resolutions=(128,), slowdown=9.0).write(tmp_path / "lut.json")
    seen = []

    def run_process(command, **_) -> subprocess.CompletedProcess[str]:
        seen.append(Lut.read(Path(command[command.index("--lut") + 1])))
        return subprocess.CompletedProcess(command, 0, json.dumps(TIMING), "")

    monkeypatch.setattr(subprocess, "run", run_process)
    assert verify(row, run, lut).predicted_ms == row.latency_ms
    assert seen == [lut]


def test_without_the_profiler_there_is_no_timing(row, run, lut, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(UserError, match="fofa-profile, which is not installed here"):
        verify(row, run, lut)


def test_verdict_and_warnings(row, run, lut, monkeypatch) -> None:
    fake_profile(
        monkeypatch,
        out='{"latency_ms": 4.0, "noise_percent": 1.0, "differences": ["threads 1 in the table, 2 '
        'now"], "stability": {"stable": false, "reasons": ["other programs"]}}',
    )
    verdict = verify(replace(row, method="published"), run, lut)
    assert verdict.holds is False
    assert verdict.measured_ms == 4.0
    text = " ".join(verdict.warnings)
    assert "threads 1 in the table" in text
    assert "unstable: other programs" in text
    assert "is published" in text
    assert verify(replace(row, limit_ms=None), run, lut).holds is None


def test_other_classes_than_the_tables_are_said(row, run, lut, monkeypatch) -> None:
    entries = [
        entry.model_copy(update={"shape": {"num_classes": 1000}})
        if entry.position == "head"
        else entry
        for entry in lut.entries
    ]
    fake_profile(monkeypatch, out=json.dumps(TIMING))
    assert verify(row, run, lut.model_copy(update={"entries": entries})).warnings == (
        "the table is of networks with 1000 classes, the run has 10",
    )


def test_a_run_of_another_width_is_refused(row, run, make_lut) -> None:
    wider = make_lut(width_mult=0.5, resolutions=(24, 32))
    with pytest.raises(UserError, match=r"run is of width 0\.25, the table .* of width 0\.5"):
        verify(row, run, wider)


def test_what_cannot_be_verified(row, run, lut) -> None:
    with pytest.raises(UserError, match="needs a latency table"):
        verify(replace(row, lut=None), run, lut)
    elastic = parse_architecture("3x3+3x4-3x3+3x3-3x3+3x3-3x3+3x3-3x3+3x3@24")
    with pytest.raises(UserError, match="no elastic architectures"):
        verify(replace(row, timed_as=elastic.name), run, lut)


def test_verdicts() -> None:
    verdict = Verdict(
        architecture="22222@128",
        lut="a.json",
        predicted_ms=2.0,
        measured_ms=2.5,
        error_percent=-20.0,
        noise_percent=0.5,
        low_ms=1.9,
        high_ms=2.1,
        inside=False,
        limit_ms=2.2,
        holds=False,
        warnings=("unstable: reasons",),
    )
    printed = io.StringIO()
    print_verdicts([verdict], Console(file=printed, width=160, highlight=False))
    text = printed.getvalue()
    for expected in (
        "2.000 ms",
        "2.500 ms ± 0.5%",
        "-20.0%",
        "over the limit",
        "OUTSIDE",
        "unstable",
    ):
        assert expected in text
    print_verdicts([], Console(file=(nothing := io.StringIO())))
    assert nothing.getvalue() == ""
