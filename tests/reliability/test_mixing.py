"""Tables that were not made for each other are refused, naming both; the exceptions are announced.

The rules are in `fofa/search/pairing.py`; here they are seen through the programs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fofa.accuracy import AccuracyTable, ProxyRecord
from fofa.latency import Lut


@pytest.fixture
def lut(tiny_tables: Path) -> Lut:
    return Lut.read(tiny_tables / "luts" / "steady.json")


def changed_space(lut: Lut, **changes: Any) -> Lut:
    return lut.model_copy(update={"space": lut.space.model_copy(update=changes)})


def at_resolutions(lut: Lut, factor: int) -> Lut:
    """The same table for images `factor` times as large on each side."""
    data = lut.model_dump(by_alias=True, mode="json")
    data["space"]["resolutions"] = [factor * r for r in data["space"]["resolutions"]]
    for entry in data["entries"]:
        entry["resolution"] *= factor
    data["calibration"] = {str(factor * int(r)): c for r, c in data["calibration"].items()}
    return Lut.model_validate(data)


MIXED = {
    "width": (lambda lut: changed_space(lut, width_mult=0.5), "width 0.5 and width 0.25"),
    "resolutions": (lambda lut: at_resolutions(lut, 2), "resolutions [32, 48] and [16, 24] px"),
    "some resolutions": (
        lambda lut: Lut.model_validate(
            lut.model_dump(by_alias=True)
            | {"entries": [e.model_dump() for e in lut.entries if e.resolution == 16]}
            | {"calibration": {}, "space": lut.space.model_dump() | {"resolutions": [16]}}
        ),
        "resolutions [16] and [16, 24] px",
    ),
    "space": (lambda lut: changed_space(lut, kind="elastic"), "has no entry for"),
}


@pytest.mark.parametrize("what", MIXED)
def test_tables_that_do_not_fit_are_refused_naming_both(
    what: str, programs: Any, lut: Lut, tiny_tables: Path, tmp_path: Path
) -> None:
    make, message = MIXED[what]
    make(lut).write(tmp_path / "luts" / "other.json")
    accuracy = tiny_tables / "accuracy"
    search = programs.run(
        *("fofa-search", "--lut", tmp_path / "luts" / "other.json"),
        *("--accuracy", accuracy / "tiny.json", "--max-latency", 100),
    )
    bench = programs.run(
        *("fofa-bench", "--accuracy-dir", accuracy, "--luts-dir", tmp_path / "luts"),
        *("--tables", "other", "--figures", "none", "--out", tmp_path / "report"),
    )
    if what == "space":
        # Compound architectures are part of the elastic space; the table lacks no block of theirs.
        search.check(0)
        bench.check(0)
        return
    for ended in (search, bench):
        complaint = ended.complaint()
        assert message in complaint
        assert "latency table of steady" in complaint
        assert "accuracy table of fofa-n3" in complaint


def test_elastic_architectures_are_not_timed_by_a_compound_table(
    programs: Any, tiny_tables: Path, tmp_path: Path
) -> None:
    data = json.loads((tiny_tables / "accuracy" / "tiny.json").read_text())
    data["space"]["kind"] = "elastic"
    data["architectures"][0]["name"] = "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@16"
    AccuracyTable.model_validate(data).write(tmp_path / "accuracy.json")
    complaint = programs.run(
        *("fofa-search", "--lut", tiny_tables / "luts" / "steady.json"),
        *("--accuracy", tmp_path / "accuracy.json", "--max-latency", 100),
    ).complaint()
    assert "compound space and elastic space" in complaint


def test_another_batch_size_is_not_compared_with_a_baseline(
    programs: Any, lut: Lut, tiny_tables: Path, tmp_path: Path
) -> None:
    protocol = lut.protocol.model_copy(update={"batch_size": 64})
    lut.model_copy(update={"protocol": protocol}).write(tmp_path / "steady.json")
    ended = programs.run(
        *("fofa-bench", "--check", tiny_tables / "baseline.json", "--luts-dir", tmp_path),
        *("--accuracy-dir", tiny_tables / "accuracy"),
    ).check(2)
    assert "batch_size was 1, is 64" in ended.stdout


def test_a_measurement_is_not_continued_with_another_batch_size(
    programs: Any, steady: Any, tmp_path: Path
) -> None:
    out = tmp_path / "lut.json"
    measuring = programs.start("fofa-profile", *steady, "--out", out)
    partial = out.with_name("lut.json.partial")
    measuring.wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") > 1)
    measuring.kill()
    again = programs.run("fofa-profile", *steady, "--batch-size", 2, "--out", out)
    assert "differs in protocol; --fresh discards it" in again.complaint()
    assert partial.exists()


NOTES = {
    "published": "The published note10 table is of width 0.5, the accuracy of width 0.25",
    "stand-in": "Accuracy was measured on images of 16 to 24 px and stands in for 64 to 96 px",
}


@pytest.mark.parametrize("exception", NOTES)
def test_the_exceptions_are_announced_in_every_output(
    exception: str, programs: Any, lut: Lut, tiny_tables: Path, tmp_path: Path
) -> None:
    """A published table may be of another width; small images may stand in for large ones."""
    accuracy = AccuracyTable.read(tiny_tables / "accuracy" / "tiny.json")
    if exception == "published":
        other = changed_space(lut, width_mult=0.5).model_copy(
            update={
                "method": "published",
                "device": lut.device.model_copy(update={"requested": "note10"}),
            }
        )
        table = "3"
    else:
        other, table = at_resolutions(lut, 4), "other"
        proxy = ProxyRecord(resolution_scale=4, reason="small images")
        accuracy = accuracy.model_copy(update={"proxy": proxy})
    other.write(tmp_path / "luts" / "other.json")
    accuracy.write(tmp_path / "accuracy" / "tiny.json")
    note = NOTES[exception]

    search = ("fofa-search", "--lut", "luts/other.json", "--accuracy", "accuracy/tiny.json")
    limits = ("--max-latency", 1000)
    for view in ((), ("--pareto",)):
        text = programs.run(*search, *limits, *view, cwd=tmp_path).check(0).stdout
        assert note in " ".join(text.split())
    shown = programs.run(*search, *limits, "--json", cwd=tmp_path).check(0).stdout
    assert any(sentence.startswith(note) for sentence in json.loads(shown)["notes"])

    options = ("--accuracy-dir", "accuracy", "--luts-dir", "luts", "--figures", "none")
    options = (*options, "--tables", table, "--out", "out", "--verbose")
    ended = programs.run("fofa-bench", *options, cwd=tmp_path)
    assert note in " ".join(ended.check(0).stdout.split())
    tables = list((tmp_path / "out" / "tables").iterdir())
    assert {path.suffix for path in tables} == {".md", ".csv", ".tex", ".json"}
    for path in [*tables, tmp_path / "out" / "report.md", tmp_path / "out" / "report.html"]:
        assert note in " ".join(path.read_text().split()), f"{path.name} does not say it"
