"""`fofa X` is `fofa-X`; what there is is listed, and a word that is none gets a hint."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from console_scripts import SCRIPTS
from in_process import run_here

from fofa import __version__
from fofa.commands import umbrella

ROOT = Path(__file__).parents[3]


def fofa(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_here(umbrella.main, "fofa", *arguments, cwd=None)


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The console scripts of this checkout, whatever is installed."""
    points = [
        EntryPoint(name=name, value=value, group="console_scripts")
        for name, value in SCRIPTS.items()
    ]

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == "console_scripts"
        return [point for point in points if name in (None, point.name)]

    monkeypatch.setattr(umbrella, "entry_points", entry_points)
    return points


def test_every_program_is_listed_with_a_line_on_it() -> None:
    done = fofa("--help")
    assert done.returncode == 0
    lines = dict(re.findall(r"^  (\w+)  +(\S.*)$", done.stdout, re.MULTILINE))
    words = [name.removeprefix("fofa-") for name in SCRIPTS if name != "fofa"]
    for word in (*words, *umbrella.OWN):
        assert len(lines[word]) > 20, word
    assert fofa().stdout == done.stdout


def test_a_word_calls_the_program_of_that_name() -> None:
    done = fofa("export", "--help")
    assert done.returncode == 0
    assert "Usage: fofa-export" in done.stdout
    missing = fofa("export", "no-run", "--architecture", "22222@24", "--out", "x.onnx")
    assert (missing.returncode, missing.stderr) == (2, "fofa-export: no-run: no such run folder\n")
    assert "Usage: fofa run" in fofa("run", "--help").stdout


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("serch", "fofa: no program 'serch'; did you mean search?\n"),
        ("xyzzy", "fofa: no program 'xyzzy'; expected one of init, run, import, train, "),
        ("", "fofa: no program ''; expected one of init, "),
    ],
)
def test_a_word_that_is_none(word: str, line: str) -> None:
    done = fofa(word)
    assert done.returncode == 2
    assert done.stderr.startswith(line)


def test_a_script_of_somebody_else_is_a_program_too(
    scripts: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other_peoples.py").write_text(
        "import sys\n"
        "def main():\n"
        "    'Draw a picture.\\n\\nMore.'\n"
        "    print(sys.argv)\n"
        "    sys.exit(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in (("fofa-draw", "other_peoples:main"), ("fofa-broken", "nowhere:main")):
        scripts.append(EntryPoint(name=name, value=value, group="console_scripts"))
    listed = fofa("--help").stdout
    assert "Draw a picture.\n" in listed
    assert "broken" not in listed
    done = fofa("draw", "a", "--b")
    assert (done.returncode, done.stdout) == (3, "['fofa-draw', 'a', '--b']\n")


@pytest.mark.parametrize(
    ("words", "name"), [((), "fofa"), (("search",), "fofa-search"), (("run",), "fofa run")]
)
def test_versions(words: tuple[str, ...], name: str) -> None:
    done = fofa(*words, "--version")
    assert (done.returncode, done.stdout) == (0, f"{name} {__version__}\n")


def test_the_version_is_the_distributions() -> None:
    try:
        assert importlib.metadata.version("fofa-nas") == __version__
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")


STRANGERS = {
    "has no such module": "class Client: pass\n",
    "does not even compile": "print 'errmsg'\n",
    "wants what is not there": "import urllib2\n",
}


@pytest.mark.parametrize("script", ["fofa-profile", "fofa-bench", "fofa-reproduce"])
@pytest.mark.parametrize("text", STRANGERS.values(), ids=STRANGERS)
def test_a_strangers_package_of_our_name_is_recognised(
    script: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "fofa").mkdir()
    (tmp_path / "fofa" / "__init__.py").write_text(text)
    package, _, name = SCRIPTS[script].partition(":")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; "
        f"sys.argv[0] = '/somewhere/{script}'; from {package} import {name}; {name}()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    place = tmp_path / "fofa" / "__init__.py"
    assert done.returncode == 2
    assert done.stderr == (
        f"{script}: {place} is the package of another distribution called fofa: pip uninstall "
        "fofa, then pip install --force-reinstall --no-deps fofa-nas\n"
    )


def test_a_fault_of_our_own_package_is_not_called_a_strangers(tmp_path: Path) -> None:
    (tmp_path / "fofa").mkdir()
    ours = (ROOT / "fofa" / "__init__.py").read_text()
    (tmp_path / "fofa" / "__init__.py").write_text(f"{ours}\nimport nothing_of_this_name\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import bench.commands"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No module named 'nothing_of_this_name'" in done.stderr
