"""`fofa-search` as a user has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import PATIENCE_SECONDS

from fofa.accuracy import AccuracyTable, ProxyRecord, SpaceRecord
from fofa.latency import Lut
from fofa.predictor.model import Predictor, PredictorRecord, num_block_features
from fofa.search.costs import affordable
from fofa.search.pairing import pair
from fofa.space import MOBILENETV3
from fofa.validation import Validation

COMMAND = [sys.executable, "-m", "fofa.commands.search"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "150"}
KEYS = {
    "architecture",
    "timed_as",
    "device",
    "lut",
    "method",
    "batch_size",
    "latency_ms",
    "error_percent",
    "low_ms",
    "high_ms",
    "limit_ms",
    "margin",
    "top1",
    "top1_source",
    "macs",
    "max_macs",
    "dtype",
    "params",
    "size_bytes",
    "memory_bytes",
    "max_params",
    "max_size",
    "max_memory",
    "energy_mj",
    "max_energy",
}


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture
def files(make_lut, make_accuracy, tmp_path) -> Path:
    """A folder with `lut.json`, `slow.json`, `elastic.json`, `accuracy.json`, `p.safetensors`."""
    validation = Validation(
        networks=9,
        mape_percent=2.0,
        max_percent=4,
        within_5_percent=100,
        within_10_percent=100,
        kendall_tau=0.99,
        noise_percent=1.0,
    )
    lut = make_lut()
    Lut(**(dict(lut) | {"validation": validation})).write(tmp_path / "lut.json")
    make_lut(device="slow", slowdown=3).write(tmp_path / "slow.json")
    make_lut(kind="elastic").write(tmp_path / "elastic.json")
    make_accuracy().write(tmp_path / "accuracy.json")
    rng = np.random.default_rng(0)
    space = SpaceRecord(kind="elastic", width_mult=1.0, resolutions=[128, 160])
    weights = (0.01 * rng.standard_normal((num_block_features(MOBILENETV3) + 2, 1))).astype(
        np.float32
    )
    Predictor(
        PredictorRecord(recipe="ofa", dataset="made-up", space=space),
        (weights,),
        (np.array([0.7], np.float32),),
    ).save(tmp_path / "p.safetensors")
    return tmp_path


def within_one_standard_error(files: Path, winner: dict[str, Any]) -> int:
    """How many of the networks within the limit may as well be taken, counted one by one."""
    lut = Lut.read(files / "lut.json")
    table = AccuracyTable.read(files / "accuracy.json")
    share, number = winner["top1"] / 100, table.evaluation.test_images
    error = 100 * (share * (1 - share) / number) ** 0.5
    found = pair(lut, table)
    within = affordable(found.latency_ms, winner["limit_ms"])
    return int((within & (winner["top1"] - found.top1 <= error)).sum())


def test_within_error_prefers_the_fastest(files) -> None:
    arguments = ("--lut", "lut.json", "--accuracy", "accuracy.json", "--max-latency", "12")
    plain = json.loads(call(files, *arguments, "--json").stdout)
    near = json.loads(call(files, *arguments, "--within-error", "--json").stdout)
    assert near["results"][0]["latency_ms"] < plain["results"][0]["latency_ms"]
    assert near["num_alike"] == plain["num_alike"]
    assert near["notes"][-1] == "Shown is the cheapest of them."
    shown = call(files, *arguments, "--within-error").stdout
    assert "within one standard error" in " ".join(shown.split())


def test_json_has_its_documented_keys(files) -> None:
    arguments = ("--lut", "lut.json", "--accuracy", "accuracy.json", "--max-latency", "12")
    done = call(files, *arguments, "--pareto", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert set(result) == {
        "schema",
        "method",
        "seconds",
        "considered",
        "seed",
        "notes",
        "results",
        "num_alike",
        "pareto",
        "other_types",
    }
    assert result["schema"] == "fofa.search/1"
    (row,) = result["results"]
    assert result["num_alike"] == [within_one_standard_error(files, row)]
    assert set(row) == KEYS
    assert row["latency_ms"] <= row["limit_ms"] == 12
    assert (row["method"], row["top1_source"], row["lut"]) == ("measured", "measured", "lut.json")
    assert row["error_percent"] == 2.0
    assert result["pareto"][-1] == row


def test_the_table_and_the_picture(files) -> None:
    arguments = ("--lut", "lut.json", "--accuracy", "accuracy.json", "--max-latency", "12")
    done = call(files, *arguments, "--plot", "front.svg")
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("ms in 95%", "measured", "Pareto front", "exact search of 486 architectures"):
        assert expected in done.stdout
    assert (files / "front.svg").read_text().startswith("<?xml")


def test_a_margin_keeps_the_limit_even_if_the_table_errs(files) -> None:
    arguments = ("--lut", "lut.json", "--accuracy", "accuracy.json", "--max-latency", "12")
    row = json.loads(call(files, *arguments, "--margin", "noise", "--json").stdout)["results"][0]
    # A mean error of 2% is a standard deviation of 2.5%; one network in twenty goes beyond 4.2%.
    assert row["latency_ms"] * 1.042 <= 12
    assert row["margin"] == "noise"
    assert row["low_ms"] < row["latency_ms"] < row["high_ms"]
    assert any("measured in one session" in note for note in row_notes(files, arguments))


def row_notes(files, arguments) -> list[str]:
    return json.loads(call(files, *arguments, "--json").stdout)["notes"]


def test_several_tables(files) -> None:
    arguments = ("--lut", "lut.json", "--lut", "slow.json", "--accuracy", "accuracy.json", "--json")
    each = call(files, *arguments, "--max-latency", "12", "--max-latency", "25")
    rows = json.loads(each.stdout)["results"]
    assert [row["limit_ms"] for row in rows] == [12, 25]
    joint = call(files, *arguments, "--max-latency", "25", "--joint")
    rows = json.loads(joint.stdout)["results"]
    assert rows[0]["architecture"] == rows[1]["architecture"]
    assert [row["limit_ms"] for row in rows] == [25, 25]


def test_budgets_are_kept_and_shown(files) -> None:
    budgets = ("--max-size", "20MB", "--max-memory", "2MB", "--max-params", "6e6")
    arguments = ("--lut", "lut.json", "--accuracy", "accuracy.json", *budgets)
    [row] = json.loads(call(files, *arguments, "--json").stdout)["results"]
    assert (row["max_size"], row["max_memory"], row["max_params"]) == (20e6, 2e6, 6e6)
    assert row["params"] <= 6e6
    assert 3.9 * row["params"] < row["size_bytes"] <= 20e6
    assert row["memory_bytes"] <= 2e6
    shown = call(files, *arguments).stdout
    assert "20 MB file" in shown
    assert f"{row['memory_bytes'] / 1e6:.3g} MB memory" in shown


def test_elastic_search_is_reproducible(files) -> None:
    arguments = ("--lut", "elastic.json", "--predictor", "p.safetensors", "--space", "elastic")
    limit = ("--max-latency", "12", "--json", "--seed", "3")
    first, second = (json.loads(call(files, *arguments, *limit).stdout) for _ in range(2))
    assert first["results"] == second["results"]
    assert (first["method"], first["seed"]) == ("evolution", 3)
    assert first["results"][0]["top1_source"] == "predicted"


def test_announcements_are_in_every_output(files, make_accuracy) -> None:
    proxy = ProxyRecord(resolution_scale=4, reason="made for a test")
    make_accuracy(resolutions=(32, 40), proxy=proxy).write(files / "small.json")
    arguments = ("--lut", "lut.json", "--accuracy", "small.json", "--max-latency", "12")
    assert "stands in for" in call(files, *arguments).stdout
    result = json.loads(call(files, *arguments, "--json").stdout)
    assert any("stands in for" in note for note in result["notes"])
    row = result["results"][0]
    assert row["architecture"].split("@")[1] in ("32", "40")
    assert row["timed_as"].split("@")[1] in ("128", "160")


MISTAKES = [
    ("--max-latency 0.01", "the fastest, 22222@128, takes"),
    ("--max-latency 0.01 --json", "the fastest, 22222@128, takes"),
    ("--max-latency 0", "a latency limit of 0: expected a finite number above 0"),
    ("--max-latency -1", "a latency limit of -1"),
    ("--max-latency nan", "a latency limit of nan"),
    ("--max-latency inf", "a latency limit of inf"),
    ("--max-macs nan", "a limit on multiply-adds of nan"),
    ("--max-size 4mb", "--max-size '4mb': expected bytes, such as 4e6, 4MB, 500kB or 4MiB"),
    ("--max-memory -1", "--max-memory '-1': expected bytes"),
    ("--max-params 0", "a limit of 0 parameters: expected a finite number above 0"),
    ("--max-params 10", "the smallest, 22222@128, takes 3,426,920 parameters"),
    ("--max-latency 12 --dtype int8", "--dtype int8: no accuracy of it was given"),
    ("--max-latency 12 --accuracy accuracy.json", "two accuracies in floating point"),
    ("", "give a limit"),
    ("--max-latency 1 --max-latency 2", "2 latency limits for 1 tables"),
    ("--max-latency 12 --space round", "--space 'round'"),
    ("--max-latency 12 --space elastic", "needs a predictor"),
    ("--max-latency 12 --margin some", "--margin 'some'"),
    ("--max-latency 12 --resolutions 1e3", "--resolutions '1e3'"),
    ("--max-latency 12 --resolutions 192", "not in the accuracy table"),
    ("--max-latency 12 --joint", "two or more"),
    ("--max-latency 12 --verify", "--verify needs --run"),
    ("--max-latency 12 --verify --run nowhere", "nowhere: no such run folder"),
    ("--max-latency 12 --plot front.txt", "front.txt: expected a picture file"),
    ("--max-latency 12 --predictor p.safetensors", "either an accuracy table or a predictor"),
    ("--max-latency 12 --seed -1", "seed -1"),
]


def test_mistakes_are_one_line_and_exit_code_2(files, capsys, monkeypatch) -> None:
    """One test for all, as its tables take longer to make than the program to refuse."""
    from fofa.commands.search import main

    monkeypatch.chdir(files)
    for arguments, message in MISTAKES:
        given = ["--lut", "lut.json", "--accuracy", "accuracy.json", *arguments.split()]
        monkeypatch.setattr(sys, "argv", ["fofa-search", *given])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert (stop.value.code, out, err.count("\n")) == (2, "", 1), arguments
        assert err.startswith("fofa-search: ")
        assert message in err


def test_missing_files_and_missing_tables(files) -> None:
    done = call(files, "--lut", "none.json", "--accuracy", "accuracy.json", "--max-latency", "1")
    assert (done.returncode, done.stderr) == (2, "fofa-search: none.json: no such file\n")
    done = call(files, "--accuracy", "accuracy.json", "--max-latency", "1")
    assert done.returncode == 2
    assert "--max-latency needs a latency table" in done.stderr
