"""`fofa-bench` on trainings within budgets: row sets, the cost figure, the matrix of devices."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import run_here

from bench.commands.bench import main
from fofa.accuracy import AccuracyTable
from fofa.latency import Lut
from fofa.outcomes import Outcomes, write_outcomes

Bench = Callable[..., tuple[int, str, str]]
BONUS = {"ofa": -25.0, "fofa-n3": -15.0, "naive": -14.9}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory,
    trained_within: Callable[..., AccuracyTable],
    make_lut: Callable[..., Lut],
) -> Path:
    """Three recipes at two budgets, two seeds each, one training without a budget; four tables."""
    folder = tmp_path_factory.mktemp("budgets")
    for recipe, bonus in BONUS.items():
        for hours in (0.1, 0.4):
            for seed in (0, 1):
                table = trained_within(
                    recipe, hours, seed=seed, resolutions=(40, 48), bonus=bonus + 30 * hours
                )
                table.write(folder / f"reports/accuracy/{recipe}-{hours}-{seed}.json")
    whole = trained_within("compofa", None, resolutions=(40, 48))
    whole.write(folder / "reports/accuracy/compofa.json")
    sizes = (160, 192)
    note10 = make_lut("note10", method="published", width_mult=1.2, resolutions=sizes, factor=4.0)
    note10.write(folder / "luts/note10.json")
    make_lut("a100", method="estimated", resolutions=sizes).write(folder / "luts/a100.json")
    plain = make_lut("cpu", resolutions=sizes, matches=None)
    plain.write(folder / "luts/cpu.json")
    late = [
        entry.model_copy(
            update={"latency_ms": entry.latency_ms * (8 if (entry.stage or 0) > 3 else 1)}
        )
        for entry in plain.entries
    ]
    int8 = plain.protocol.model_copy(update={"dtype": "int8"})
    plain.model_copy(
        update={
            "entries": late,
            "protocol": int8,
            "device": plain.device.model_copy(update={"requested": "cpu-int8"}),
        }
    ).write(folder / "luts/int8.json")
    return folder


@pytest.fixture
def bench(project: Path, tmp_path: Path) -> Bench:
    """The program in this process: its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        out = ("--out", tmp_path / "report")
        done = run_here(main, "fofa-bench", *arguments, *out, cwd=project)
        return done.returncode, done.stdout, done.stderr

    return run


def table_in(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"report/tables/{name}.json").read_text())
    return found


def texts(path: Path) -> set[str]:
    return {element.text or "" for element in ElementTree.parse(path).iter(f"{SVG}text")}


def test_the_cost_figure_and_both_halves_of_table_2(bench: Bench, tmp_path: Path) -> None:
    code, output, _ = bench("--tables", "2", "--figures", "cost")
    assert code == 0
    assert "at equal training budget" in output
    second = table_in(tmp_path, "table2-budget")
    assert [row["recipe"] for row in second["rows"]] == ["ofa", "fofa-n3", "naive"]
    marks = {
        row["recipe"]: [(cell["best"], cell["alike"]) for cell in row["cells"]][1::3]
        for row in second["rows"]
    }
    assert marks["ofa"] == [(False, False)] * 2
    assert marks["fofa-n3"] == marks["naive"] == [(False, True)] * 2
    for suffix in ("md", "csv", "tex"):
        text = (tmp_path / f"report/tables/table2-budget.{suffix}").read_text()
        assert "budget 0.4 core-hours" in text
    assert " ≈ |" in (tmp_path / "report/tables/table2-budget.md").read_text()
    assert r"$\approx$" in (tmp_path / "report/tables/table2-budget.tex").read_text()
    ratios = table_in(tmp_path, "cost-ratios")
    assert {row["recipe"] for row in ratios["rows"]} == {"ofa", "compofa", "fofa-n3", "naive"}
    figure = tmp_path / "report/figures/cost.svg"
    assert {"OFA", "CompOFA", "fOFA (n=3)", "Naive sampling", "0.1", "0.4"} <= texts(figure)
    assert "training cost (core-hours)" in texts(figure)
    page = (tmp_path / "report/report.md").read_text()
    assert "bands go from the lowest seed to the highest" in page


def test_tables_and_fronts_are_of_one_budget(bench: Bench, tmp_path: Path) -> None:
    code, _, _ = bench("--tables", "3", "--figures", "none")
    assert code == 0
    largest = table_in(tmp_path, "table3")
    assert largest["title"].endswith(", budget 0.4 core-hours")
    assert largest["columns"][0]["title"] == "Spent (core-hours)"
    rows = {row["recipe"]: row["cells"] for row in largest["rows"]}
    assert rows["compofa"][1]["note"] == "no accuracy table"
    assert rows["naive"][1]["seeds"] == 2
    assert "naive" not in texts(tmp_path / "report/figures/pareto-note10.svg")
    assert "Naive sampling" in texts(tmp_path / "report/figures/pareto-note10.svg")
    bench("--tables", "3", "--figures", "none", "--budget", "0.1")
    small = table_in(tmp_path, "table3")
    assert small["title"].endswith(", budget 0.1 core-hours")
    better = {row["recipe"]: row["cells"][1]["value"] for row in small["rows"]}
    assert all(rows[name][1]["value"] > better[name] for name in BONUS)
    bench("--tables", "3", "--figures", "none", "--compare", "epochs")
    whole = table_in(tmp_path, "table3")
    values = {row["recipe"]: row["cells"][1]["value"] for row in whole["rows"]}
    assert [name for name, value in values.items() if value is not None] == ["compofa"]
    assert whole["columns"][0]["title"] == "Epochs"


def test_the_matrix_of_devices(bench: Bench, tmp_path: Path) -> None:
    code, output, errors = bench("--tables", "none", "--figures", "none", "--devices")
    assert (code, errors) == (0, "")
    assert "Devices: what a network chosen for one costs on another" in output
    table = table_in(tmp_path, "devices")
    assert [column["title"] for column in table["columns"]] == ["a100", "cpu", "int8", "note10"]
    text = " ".join(table["caption"])
    assert "Between number types on one device the best network changes at " in text
    for said in ("ESTIMATED", "published table, not measured here", "measured on Synthetic CPU"):
        assert said in text
    shown = texts(tmp_path / "report/figures/devices-map.svg")
    assert {"chosen for", "used on", "int8", "(measured)", "(estimated)", "(published)"} <= shown
    code, _, _ = bench(
        "--tables", "none", "--figures", "none", "--devices", "--recipe", "ofa", "--budget", "0.1"
    )
    assert code == 0
    assert {row["recipe"] for row in table_in(tmp_path, "devices")["rows"]} == {"ofa"}


def test_outcomes_beside_the_tables_narrow_the_intervals(
    bench: Bench, project: Path, tmp_path: Path
) -> None:
    """Every image that a network gets right, a better one gets right: nothing but skill differs."""
    folder = tmp_path / "accuracy"
    for path in sorted((project / "reports/accuracy").glob("*-0.4-0.json")):
        table = AccuracyTable.read(path)
        right = {row.name: np.arange(10_000) < round(100 * row.top1) for row in table.architectures}
        table.write(folder / path.name)
        write_outcomes(Outcomes.of("0" * 64, right), folder / path.name)
    arguments = ("--tables", "2", "--figures", "none", "--accuracy-dir", str(folder))
    assert bench(*arguments)[0] == 0
    with_outcomes = table_in(tmp_path, "table2-budget")
    assert any("drawn again for both at once" in text for text in with_outcomes["caption"])
    kept = sorted(folder.glob("*.outcomes.json.gz"))
    kept.pop().unlink()
    assert bench(*arguments)[0] == 0
    of_some = table_in(tmp_path, "table2-budget")
    assert any("both at once where outcomes were kept, else" in text for text in of_some["caption"])
    for path in kept:
        path.unlink()
    assert bench(*arguments)[0] == 0
    without = table_in(tmp_path, "table2-budget")
    assert any("an upper bound" in text for text in without["caption"])
    for narrow, wide in zip(with_outcomes["rows"], without["rows"], strict=True):
        one, other = narrow["cells"][2], wide["cells"][2]
        assert one["value"] == pytest.approx(other["value"])
        if one["value"] != 0:
            assert one["high"] - one["low"] < other["high"] - other["low"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compare", "seeds"), "compare 'seeds': expected budget or epochs"),
        (("--compare", "epochs", "--budget", "0.1"), "leave out --budget"),
        (("--budget", "0.3", "--tables", "3"), "there are 0.1 core-hours, 0.4 core-hours"),
        (("--recipe", "ofa"), "--recipe goes with --devices"),
        (("--devices", "--recipe", "mine"), "no accuracy table of the recipe 'mine'"),
        (("--figures", "cots"), "figures cots: expected some of 1, 4, cost"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    bench: Bench, arguments: tuple[str, ...], message: str
) -> None:
    code, output, errors = bench("--tables", "none", "--figures", "none", *arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert message in errors
