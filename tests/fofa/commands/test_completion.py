"""Completion, in the shells that are here: the words of the programs, and files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from in_process import run_here

from fofa.commands import completion
from fofa.commands.completion import Words

WORDS: Words = {
    "predictor train": {"--epochs": "How 'long': as told.", "--out": "File."},
    "search": {"--lut": "Latency table.", "--max-latency": "Limit in ms."},
    "predictor": {"--version": "Show it."},
}


@pytest.fixture(autouse=True)
def some_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "programs", lambda: dict.fromkeys(("search", "predictor"), min))


def complete_in_bash(tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    script = tmp_path / "completion.bash"
    script.write_text(completion.bash(WORDS))
    typed = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _fofa; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("fofa", "se"), ["search"]),
        (("fofa", ""), ["search", "predictor"]),
        (("fofa", "search", "--m"), ["--max-latency"]),
        (("fofa-search", "--"), ["--lut", "--max-latency"]),
        (("/usr/bin/fofa-search", "--l"), ["--lut"]),
        (("fofa", "predictor", "t"), ["train"]),
        (("fofa", "predictor", "train", "--e"), ["--epochs"]),
        (("fofa-predictor", "train", "--e"), ["--epochs"]),
        (("fofa", "nothing", "--"), []),
    ],
)
def test_bash(words: tuple[str, ...], offered: list[str], tmp_path: Path) -> None:
    assert complete_in_bash(tmp_path, *words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_the_script(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(completion.SHELLS[shell](WORDS))
    text = script.read_text()
    for options in WORDS.values():
        for option in options:
            assert option.removeprefix("--") in text
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", script], check=True)


def test_a_shell_that_is_none() -> None:
    done = run_here(completion.main, "fofa completion", "tcsh", cwd=None)
    assert done.returncode == 2
    assert done.stderr == "fofa completion: shell 'tcsh': expected one of bash, zsh, fish\n"
