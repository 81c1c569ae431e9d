"""`fofa-bench` as a user has it: files, exit codes, one line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import run_here
from waiting import PATIENCE_SECONDS

from bench.commands.bench import main
from fofa.accuracy import AccuracyTable
from fofa.latency import Lut


def fofa_bench(
    folder: Path, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    settings = {"GITHUB_ACTIONS": ""} | environment
    return run_here(main, "fofa-bench", *arguments, cwd=folder, **settings)


def started_fofa_bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bench.commands.bench", *arguments],
        cwd=folder,
        env={**os.environ, "GITHUB_ACTIONS": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def edit(path: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    data = json.loads(path.read_text())
    change(data)
    out.write_text(json.dumps(data))
    return out


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, write_project: Callable[[Path], Path]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = write_project(tmp_path_factory.mktemp("made"))
    return folder, started_fofa_bench(folder, "--tables", "2,3,4,5", "--figures", "1,4")


def test_everything_is_written(made: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = made
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("report: reports/report.html")
    reports = folder / "reports"
    for number in (2, 3, 4, 5):
        assert f"Table {number}:" in done.stdout
        for suffix in ("md", "csv", "tex", "json"):
            assert (reports / f"tables/table{number}.{suffix}").stat().st_size > 200
    figures = {path.name for path in (reports / "figures").iterdir()}
    names = ("figure1", "figure4", "pareto-note10", "pareto-a100", "pareto-pascal", "pareto-epyc")
    assert figures == {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    summary = (reports / "report.md").read_text()
    assert summary.count("### Table") == 4
    assert all(f"figures/{name}.svg" in summary for name in names)


def test_the_same_input_gives_the_same_files(
    made: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = made
    again = fofa_bench(folder, "--tables", "3", "--figures", "none", "--out", "again")
    assert again.returncode == 0
    for name in ("tables/table3.csv", "tables/table3.json", "figures/pareto-note10.svg"):
        assert (folder / "again" / name).read_bytes() == (folder / "reports" / name).read_bytes()


def test_no_torch_is_imported() -> None:
    code = (
        "import sys, bench.commands.bench, bench.reports.pages, bench.figures.charts;"
        " print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_table_is_one_line_that_says_how_to_make_it(project: Path) -> None:
    (project / "luts/epyc.json").unlink()
    done = fofa_bench(project, "--tables", "3,5", "--figures", "none")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "luts/epyc7763.json with fofa-profile --device epyc7763 --out" in done.stderr
    assert not (project / "reports/report.html").exists()


def test_one_of_two_devices_missing_is_a_note(project: Path) -> None:
    (project / "luts/pascal.json").unlink()
    done = fofa_bench(project, "--tables", "4", "--figures", "none")
    assert done.returncode == 0
    assert "fofa-profile --device pascal" in done.stderr
    assert "fofa-profile --device pascal" in (project / "reports/tables/table4.md").read_text()


def test_a_named_table_without_any_accuracy_is_one_line(
    make_lut: Callable[..., Lut], tmp_path: Path
) -> None:
    make_lut("laptop", matches=None).write(tmp_path / "laptop.json")
    done = fofa_bench(tmp_path, "--tables", "none", "--figures", "none", "--lut", "laptop.json")
    assert done.returncode == 2
    assert "no accuracy table there and none named" in done.stderr
    assert done.stderr.count("\n") == 1


def test_further_devices_get_further_tables(
    project: Path, make_lut: Callable[..., Lut], tmp_path: Path
) -> None:
    make_lut("cpu", hardware="My Laptop", matches=None).write(tmp_path / "laptop.json")
    done = fofa_bench(
        project, "--tables", "3", "--figures", "none", "--lut", tmp_path / "laptop.json",
        "--constraints", "2,4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads((project / "reports/tables/table-laptop.json").read_text())
    assert "My Laptop (measured as cpu)" in table["title"]
    assert [column["limit_ms"] for column in table["columns"]] == [None, 2.0, 4.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tables", "3,6"], "tables 6: expected some of 2, 3, 4, 5, other"),
        (["--figures", "2"], "figures 2: expected some of 1, 4"),
        (["--constraints", "soon"], "constraints 'soon'"),
        (["--lut", "nowhere.json"], "nowhere.json: no such file"),
        (["--accuracy-dir", "empty"], "no accuracy table there"),
        (["--check", "a", "--update-baseline", "b"], "exclude each other"),
        (["--junit", "x.xml"], "go with --check"),
        (["--check", "luts/epyc.json"], "expected 'fofa.baseline/1'"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    shared_project: Path, arguments: list[str], message: str
) -> None:
    done = fofa_bench(shared_project, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fofa-bench: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def in_int8(data: dict[str, Any]) -> None:
    data["protocol" if "protocol" in data else "evaluation"] |= (
        {"dtype": "int8"} if "protocol" in data else {"precision": "int8"}
    )


def test_an_int8_table_beside_accuracies_in_fp32_is_a_note_unless_it_is_named(
    project: Path, make_lut: Callable[..., Lut]
) -> None:
    make_lut("board").write(project / "luts/board.json")
    edit(project / "luts/board.json", project / "luts/board-int8.json", in_int8)
    wanted = ("--tables", "other", "--figures", "none")
    done = fofa_bench(project, *wanted)
    assert done.returncode == 0, done.stderr
    assert "board-int8.json" in done.stderr
    assert "latency in int8, accuracy in fp32" in done.stderr
    assert (project / "reports/tables/table-board.json").is_file()
    assert not (project / "reports/tables/table-board-int8.json").exists()
    named = fofa_bench(project, *wanted, "--lut", "luts/board-int8.json")
    assert named.returncode == 2
    assert named.stderr.count("\n") == 1


def test_int8_accuracies_get_tables_of_their_own(
    project: Path, make_lut: Callable[..., Lut]
) -> None:
    make_lut("board").write(project / "luts/board.json")
    edit(project / "luts/board.json", project / "luts/board-int8.json", in_int8)
    accuracy = project / "reports/accuracy"
    edit(accuracy / "fofa-n3.json", accuracy / "fofa-n3-int8.json", in_int8)
    done = fofa_bench(project, "--tables", "2,3,other", "--figures", "4,cost", "--devices")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tables = {path.stem for path in (project / "reports/tables").glob("*.md")}
    assert tables == {"table2", "table3", "table-board", "table-board-int8", "devices"}
    figures = {path.stem for path in (project / "reports/figures").glob("*int8*.svg")}
    assert figures == {"pareto-board-int8"}
    assert "nothing won" not in (project / "reports/report.md").read_text()


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory, write_project: Callable[[Path], Path]) -> Path:
    folder = write_project(tmp_path_factory.mktemp("gated"))
    done = fofa_bench(folder, "--update-baseline", "baseline.json")
    assert done.returncode == 0, done.stderr
    assert "112 limits on a100, epyc7763, note10, pascal" in done.stdout
    return folder


def test_unchanged_input_passes_the_gate(gated: Path, tmp_path: Path) -> None:
    files = ["--summary", tmp_path / "summary.md", "--junit", tmp_path / "junit.xml"]
    done = fofa_bench(gated, "--check", "baseline.json", *files)
    assert done.returncode == 0
    allowed, verdict = done.stdout.splitlines()
    assert allowed == "allowed latency: +3.0% on a100, epyc7763, note10, pascal"
    assert verdict == "112 limits: 112 held"
    assert "**112 limits: 112 held**" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "junit.xml").read_text().count("<testcase") == 112


def test_a_lost_point_fails_the_gate_and_is_named(gated: Path, tmp_path: Path) -> None:
    baseline = json.loads((gated / "baseline.json").read_text())
    (result,) = [
        result
        for result in baseline["results"]
        if (result["lut"]["device"], result["recipe"]) == ("note10", "compofa")
    ]
    chosen = result["limits"][0]

    def lower(data: dict[str, Any]) -> None:
        for row in data["architectures"]:
            row["top1"] -= row["name"] == chosen["architecture"]

    worse = edit(gated / "reports/accuracy/compofa.json", tmp_path / "worse.json", lower)
    done = fofa_bench(gated, "--check", "baseline.json", "--accuracy", worse)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("regressed: note10")]
    assert "note10, compofa seed 0, 15 ms" in line
    assert f"was {chosen['top1']:.2f}" in line
    assert f"is {chosen['top1'] - 1:.2f}" in line


def test_a_slower_device_fails_the_gate_with_annotations(gated: Path, tmp_path: Path) -> None:
    def slow(data: dict[str, Any]) -> None:
        for entry in data["entries"]:
            entry["latency_ms"] *= 1.2

    lut = edit(gated / "luts/epyc.json", tmp_path / "slow.json", slow)
    done = fofa_bench(gated, "--check", "baseline.json", "--lut", lut, GITHUB_ACTIONS="true")
    assert done.returncode == 1
    assert "(+20.0%); allowed +3.0%" in done.stdout
    assert "\n::error title=fofa-bench::regressed: epyc7763" in done.stdout


def test_an_unstable_device_or_other_data_is_code_2(
    gated: Path, tmp_path: Path, make_accuracy: Callable[..., AccuracyTable]
) -> None:
    def shake(data: dict[str, Any]) -> None:
        data["stability"] = {"stable": False, "reasons": ["the machine was busy"]}

    lut = edit(gated / "luts/epyc.json", tmp_path / "unstable.json", shake)
    done = fofa_bench(gated, "--check", "baseline.json", "--lut", lut)
    assert done.returncode == 2
    assert "unstable measurement: the machine was busy" in done.stdout
    make_accuracy("ofa", dataset="shapes").write(tmp_path / "shapes.json")
    done = fofa_bench(gated, "--check", "baseline.json", "--accuracy", tmp_path / "shapes.json")
    assert done.returncode == 2
    assert "dataset was cifar10, is shapes" in done.stdout
