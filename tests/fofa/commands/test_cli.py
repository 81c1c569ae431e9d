"""Messages: broken at words where a person reads them, one line where a program does."""

from __future__ import annotations

import io

import pytest

from fofa.commands.cli import PlainConsole, at_words

LINE = "fofa-search: luts/cpu.json: no such file; make it with fofa-profile --device cpu --out luts"
PATH = f"/{'folder/' * 12}table.json"


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 57, 80])
def test_a_terminal_gets_whole_words(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = at_words(LINE, Terminal()).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == LINE
    assert PATH in at_words(f"report: {PATH} and more", Terminal())


def test_files_and_pipes_get_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert at_words(LINE, io.StringIO()) == LINE


def test_consoles_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        PlainConsole(stream, stderr=True).print(LINE, soft_wrap=True)
        PlainConsole(stream, stderr=True, soft_wrap=True).print(PATH)
    assert pipe.getvalue() == f"{LINE}\n{PATH}\n"
    assert PATH in terminal.getvalue().splitlines()
    assert max(len(line) for line in terminal.getvalue().splitlines() if line != PATH) <= 40
