"""`fofa-bench --rivals`: beside the fronts of their device, and named where they win."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import run_here

from bench.commands.bench import main
from bench.tables.model import Table

STRONG = {
    "name": "Strong [net]",
    "latency_ms": 9.0,
    "top1": 99.0,
    "cost_hours": 0.5,
    "source": "made up for this test",
}
WEAK = STRONG | {"name": "Weak", "top1": 12.5}
FAST = STRONG | {"name": "Fast", "latency_ms": 0.001, "top1": 50.0}


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, write_project: Callable[[Path], Path]
) -> Path:
    return write_project(tmp_path_factory.mktemp("project"))


def compared(folder: Path, rivals: Any, tables: str = "5") -> subprocess.CompletedProcess[str]:
    """`fofa-bench` with a file of rivals, that of this content where it is none."""
    default = {"schema": "fofa.rivals/1", "device": "epyc7763", "dataset": "cifar10"}
    content = default | {"rivals": rivals} if isinstance(rivals, list) else rivals
    (folder / "rivals.json").write_text(json.dumps(content))
    words = ("--tables", tables, "--figures", "none", "--rivals", "rivals.json", "--out", "out")
    return run_here(main, "fofa-bench", *words, cwd=folder, COLUMNS="200")


def test_rivals_stand_beside_the_front_and_win_where_they_do(project: Path) -> None:
    done = compared(project, [STRONG, WEAK, FAST])
    assert done.returncode == 0, done.stderr
    table = Table.read(project / "out" / "tables" / "rivals-epyc.json")
    assert [row.method for row in table.rows] == ["Fast", "Strong [net]", "Weak"]
    assert [line.split()[0] for line in table.verdict] == ["Fast", "Strong", "Weak"]
    fast, strong, weak = table.verdict
    assert "is faster (0.00 ms) than every network here" in fast
    assert "wins by" in strong
    assert "loses by" in weak
    none, ahead, behind = (row.cells[-1] for row in table.rows)
    assert none.value is None
    assert ahead.value is not None
    assert behind.value is not None
    assert ahead.value - behind.value == pytest.approx(STRONG["top1"] - WEAK["top1"])
    ours = table.rows[1].cells
    assert ours[4].value is not None
    assert ours[4].value <= STRONG["latency_ms"]
    assert any("made up for this test" in sentence for sentence in table.caption)
    page = (project / "out" / "report.html").read_text()
    assert "Strong [net]" in page
    assert 'role="img" aria-label="Pareto fronts on' in page[page.index("The fronts as figures") :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([STRONG | {"top1": 101}], "top1"),
        ([STRONG | {"latency_ms": 0}], "latency_ms"),
        ([STRONG | {"cost_hours": -1}], "cost_hours"),
        ([STRONG | {"source": ""}], "source"),
        ([{k: v for k, v in STRONG.items() if k != "source"}], "source"),
        ([STRONG | {"speed": 1}], "speed"),
        ([STRONG, STRONG], "expected different names, 'Strong [net]' comes twice"),
        ([], "rivals"),
        ({"schema": "fofa.lut/1"}, "expected 'fofa.rivals/1'"),
        (
            {
                "schema": "fofa.rivals/1",
                "device": "phone",
                "dataset": "cifar10",
                "rivals": [STRONG],
            },
            "no front of phone on cifar10 is made here",
        ),
    ],
)
def test_a_wrong_file_is_one_clear_line(project: Path, content: Any, message: str) -> None:
    done = compared(project, content)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_rivals_of_another_device_are_not_compared_with_this_one(project: Path) -> None:
    done = compared(project, [STRONG], tables="4")  # whose devices are GPUs
    assert done.returncode == 2
    assert "no front of epyc7763" in done.stderr
