"""Files that another program replaces while they are read: the old one or the new, never a mixture.

Programs here replace files by renaming, so what is read is whole. Others (`cp`, an editor) write in
place; a file that is caught half written is refused by name. Weights and checkpoints:
`tests/fofa/test_tensor_files.py`. A table that changes between a search and its check:
`tests/fofa/test_verify.py`.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fofa.accuracy import AccuracyTable
from fofa.files import write_text
from fofa.latency import Lut

TIMES = [
    pytest.param(6, id="few"),
    pytest.param(50, id="many", marks=(pytest.mark.slow, pytest.mark.timeout(3600))),
]


def renamed(path: Path, text: str) -> None:
    """As every program here does it."""
    write_text(path, text)


def in_place(path: Path, text: str) -> None:
    """As `cp` does it, slowly: what is read in between is cut short."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.002)
        file.write(text[len(text) // 2 :])


@contextmanager
def replaced(
    path: Path, texts: Sequence[str], write: Callable[[Path, str], None]
) -> Iterator[None]:
    """`path` is written again and again, with each of `texts` in turn."""
    done = threading.Event()

    def work() -> None:
        for text in itertools.cycle(texts):
            if done.is_set():
                return
            write(path, text)
            time.sleep(0.001)

    write(path, texts[0])
    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def results(stdout: str) -> Any:
    return json.loads(stdout)["results"]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("write", [renamed, in_place])
@pytest.mark.parametrize("which", ["lut", "accuracy"])
def test_a_search_sees_one_table_or_the_other(
    which: str,
    write: Callable[[Path, str], None],
    times: int,
    programs: Any,
    tiny_tables: Path,
    tmp_path: Path,
) -> None:
    """The other table has a larger latency and another device, or other accuracies and a recipe."""
    lut = Lut.read(tiny_tables / "luts" / "steady.json")
    accuracy = AccuracyTable.read(tiny_tables / "accuracy" / "tiny.json")
    if which == "lut":
        entries = [
            entry.model_copy(update={"latency_ms": 3 * entry.latency_ms}) for entry in lut.entries
        ]
        device = lut.device.model_copy(update={"requested": "other"})
        other: Lut | AccuracyTable = lut.model_copy(update={"entries": entries, "device": device})
    else:
        rows = [row.model_copy(update={"top1": 100 - row.top1}) for row in accuracy.architectures]
        other = accuracy.model_copy(update={"architectures": rows, "recipe": "other"})
    texts = [(lut if which == "lut" else accuracy).to_json(), other.to_json()]
    paths = {"lut": tmp_path / "lut.json", "accuracy": tmp_path / "accuracy.json"}
    lut.write(paths["lut"])
    accuracy.write(paths["accuracy"])
    words = ("--lut", paths["lut"], "--accuracy", paths["accuracy"], "--max-latency", 1e6)
    expected = []
    for text in texts:
        write_text(paths[which], text)
        expected.append(results(programs.run("fofa-search", *words, "--json").check(0).stdout))
    assert expected[0] != expected[1]
    with replaced(paths[which], texts, write):
        for _ in range(times):
            ended = programs.run("fofa-search", *words, "--json")
            if write is in_place and ended.code == 2:
                assert str(paths[which]) in ended.complaint()
            else:
                assert results(ended.check(0).stdout) in expected


@pytest.mark.parametrize("times", TIMES)
def test_a_gate_judges_one_table_or_the_other(
    times: int, programs: Any, tiny_tables: Path, tmp_path: Path
) -> None:
    """The old table holds, the new one is ten times slower and does not."""
    lut = Lut.read(tiny_tables / "luts" / "steady.json")
    entries = [
        entry.model_copy(update={"latency_ms": 10 * entry.latency_ms}) for entry in lut.entries
    ]
    texts = [lut.to_json(), lut.model_copy(update={"entries": entries}).to_json()]
    path = tmp_path / "luts" / "steady.json"
    words = ("--accuracy-dir", tiny_tables / "accuracy", "--luts-dir", path.parent)
    check = ("fofa-bench", *words, "--check", tiny_tables / "baseline.json")
    verdicts = []
    for text, code in zip(texts, (0, 1), strict=True):
        write_text(path, text)
        verdicts.append(programs.run(*check).check(code).stdout)
    with replaced(path, texts, renamed):
        for _ in range(times):
            ended = programs.run(*check).check(0, 1)
            assert ended.stdout == verdicts[ended.code]
