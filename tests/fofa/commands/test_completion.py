"""Completion, in the shells that are here: programs, options, the words that these take, files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import shells
from console_scripts import SCRIPTS
from in_process import run_here

from fofa.commands import completion, words
from fofa.commands.umbrella import OWN
from fofa.commands.words import VALUES, Command, Option, Words, all_words
from fofa.presets import PRESETS

LATENCY = {
    "--lut": Option("Latency table, which may: be repeated", "text"),
    "--max-latency": Option("Limit in ms", "number"),
    "--space": Option("All, or 'many'", "text", ("compound", "elastic")),
    "--family": Option("Kind of net", "text", ("lite", "large"), files_too=True),
    "--quick": Option("Less"),
}
MADE_UP: Words = {
    "predictor train": Command({"--epochs": Option("How 'long': as told", "number")}, Option("")),
    "search": Command(LATENCY),
    "predictor": Command({"--version": Option("Show it")}, Option("")),
    "completion": Command({}, Option("", "text", ("bash", "zsh"))),
}
FILE = "some-file"
CASES = {
    "fofa se": {"search"},
    "fofa ": {"search", "predictor", "completion"},
    "fofa --h": {"--help"},
    "fofa search --m": {"--max-latency"},
    "fofa-search --": {*LATENCY},
    "fofa-search --l": {"--lut"},
    "fofa-search --lut ": {FILE},
    "fofa-search --lut some": {FILE},
    "fofa-search --max-latency ": set(),
    "fofa-search --space ": {"compound", "elastic"},
    "fofa-search --space=": {"compound", "elastic"},
    "fofa search --quick --space e": {"elastic"},
    "fofa search --family la": {"large"},
    "fofa search --family some": {FILE},
    "fofa-search --space elastic --q": {"--quick"},
    "fofa predictor t": {"train"},
    "fofa predictor train --e": {"--epochs"},
    "fofa-predictor train --e": {"--epochs"},
    "fofa-predictor train some": {FILE},
    "fofa completion ": {"bash", "zsh"},
    "fofa nothing --": set(),
}
"""What is typed, and the words that TAB offers then."""
ALL = set().union(*CASES.values())
HERE = [
    pytest.param(
        shell, marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"no {shell} here")
    )
    for shell in completion.SHELLS
]


def pressed(shell: str, script: str, typed: str, folder: Path) -> set[str]:
    """The words of a case that TAB offers, and puts there."""
    file = folder / "script"
    file.write_text(script)
    where = folder / "where"
    where.mkdir()
    (where / FILE).touch()
    offered = {word.rpartition("=")[2] for word in shells.offered(shell, file, typed, where)}
    return offered - {*typed.split()}


@pytest.mark.parametrize("shell", HERE)
@pytest.mark.parametrize("typed", CASES)
def test_tab(shell: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("search", "predictor", "completion")
    monkeypatch.setattr(completion, "programs", lambda: dict.fromkeys(names, min))
    offered = pressed(shell, completion.SHELLS[shell](MADE_UP), typed, tmp_path)
    assert offered & ALL == CASES[typed]


@pytest.fixture(scope="module")
def everything() -> Words:
    return all_words()


@pytest.mark.parametrize("shell", HERE)
@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("fofa tr", {"train"}),
        ("fofa-train --pre", {"--preset", "--precision"}),
        ("fofa-train --preset ", {*PRESETS}),
    ],
)
def test_tab_with_every_program(
    shell: str, typed: str, offers: set[str], everything: Words, tmp_path: Path
) -> None:
    assert offers <= pressed(shell, completion.SHELLS[shell](everything), typed, tmp_path)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_program_and_option_is_in_the_script(shell: str, everything: Words) -> None:
    script = completion.SHELLS[shell](everything)
    for name in (*SCRIPTS, *OWN):
        assert name.removeprefix("fofa-") in everything or name == "fofa"
    for command in everything.values():
        for option in command.options:
            assert option.lstrip("-") in script


def test_every_word_of_an_option_is_taken_somewhere(everything: Words) -> None:
    """A value that no help names any more, or one that has another name now, is found here."""
    offered: dict[str, set[str]] = {name: set() for name in VALUES}
    for command in everything.values():
        for name, option in command.options.items():
            offered.setdefault(name, set()).update(option.values)
    offered["shell"] |= {*(everything["completion"].argument or Option("")).values}
    assert {name: offered[name] for name in VALUES} == {
        name: {*values} for name, values in VALUES.items()
    }
    assert VALUES["shell"] == tuple(completion.SHELLS)


def test_what_a_program_does_not_take_is_not_offered(everything: Words) -> None:
    assert "folder" not in everything["reproduce"].options["--preset"].values
    assert everything["profile"].options["--device"].values == ()
    assert everything["train"].options["--budget"].takes == "number"
    assert everything["train"].options["--download"].takes == "nothing"
    assert {*words.OWN_OPTIONS} <= everything["train"].options.keys()


def test_a_shell_that_is_none() -> None:
    done = run_here(completion.main, "fofa completion", "tcsh", cwd=None)
    assert done.returncode == 2
    assert done.stderr == "fofa completion: shell 'tcsh': expected one of bash, zsh, fish\n"
