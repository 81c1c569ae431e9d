"""The wheel: installed elsewhere, without the source tree, a home or a GPU driver, it works.

Dependencies are those of the interpreter that runs the tests; the wheel itself is built, installed
into a folder of its own, and found there before anything else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

from fofa.accuracy import AccuracyTable
from fofa.latency import Lut

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
EXAMPLE = ROOT / "tests" / "profilers" / "example_plugin"
PACKAGES = ("fofa", "profilers", "bench")
NEWER = ("3.12", "3.13", "3.14")

Run = Callable[..., subprocess.CompletedProcess[str]]


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that the source tree stays as it is."""
    pytest.importorskip("setuptools", reason="the wheel is built with setuptools, offline")
    folder = tmp_path_factory.mktemp("build")
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs an installed program in an empty folder, with a home that cannot be written."""
    home = tmp_path / "home"
    home.write_text("a file, so that nobody, root neither, can make anything in it")
    place = tmp_path / "elsewhere"
    place.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = kept | {
        "HOME": str(home),
        "PYTHONPATH": str(installed),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }

    def wait(
        name: str, *arguments: object, codes: Sequence[int] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        module, _, function = SCRIPTS[name].partition(":")
        code = f"import sys; sys.argv[0] = {name!r}; from {module} import {function}; {function}()"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=place,
            env=environment,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode in codes, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return wait


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    for package in PACKAGES:
        wanted = {
            str(path.relative_to(ROOT))
            for path in (ROOT / package).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert wanted <= set(names), sorted(wanted - set(names))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and the example plugin, beside what they require.

    The requirements are those of the interpreter that runs the tests, by a path file: nothing is
    fetched. This project's own installation there is not seen, because the wheel's comes first.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    place = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    theirs = sysconfig.get_path("purelib")
    (place / "requirements.pth").write_text(f"{theirs}\n")
    plugin = shutil.copytree(EXAMPLE, folder / "plugin")
    python = ("--python", folder / "bin" / "python")
    pip(*python, "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    pip(*python, "install", "--no-deps", "--no-build-isolation", plugin)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_fresh_environment_has_the_programs_and_the_requirements(
    environment: Path, tmp_path: Path
) -> None:
    def call(name: str, *words: str) -> str:
        done = subprocess.run(
            [environment / "bin" / name, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in SCRIPTS:
        assert (environment / "bin" / name).is_file()
    assert call("fofa", "--version") == call("python", "-c", VERSION)
    assert "Usage: fofa-search" in call("fofa", "search", "--help")
    plugins = {
        row["name"] for row in json.loads(call("fofa-profile", "--list", "--json"))["plugins"]
    }
    assert "torch-cpu" in plugins
    assert call("python", "-c", MISSING) == "[]\n"
    assert str(environment) in call("python", "-c", "import fofa; print(fofa.__file__)")


VERSION = "from importlib.metadata import version; print('fofa', version('fofa-nas'))"
MISSING = """
import re
from importlib.metadata import PackageNotFoundError, requires, version
missing = []
for name in ("fofa-nas", "fofa-torch-cpu"):
    for line in requires(name):
        if "extra ==" not in line:
            wanted = re.match(r"[A-Za-z0-9._-]+", line).group()
            try:
                version(wanted)
            except PackageNotFoundError:
                missing.append(wanted)
print(missing)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_program_says_what_it_does(name: str, run: Run) -> None:
    assert f"Usage: {name}" in run(name, "--help").stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_way_from_training_to_a_report(run: Run, installed: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    run(
        *("fofa-train", "--recipe", "fofa-n3", "--out", "run", "--epoch-scale", 0.001),
        *("--width-mult", 0.25, "--resolutions", "16,24", "--train-fraction", 0.02),
        *("--batch-size", 8),
    )
    names = ",".join(f"{name}@{size}" for name in ("22222", "33333", "44444") for size in (16, 24))
    few = ("--calibration-images", 20, "--limit", 20)
    run("fofa-eval", "run", "--architectures", names, "--out", "accuracy/mine.json", *few)
    assert len(AccuracyTable.read(place / "accuracy/mine.json").architectures) == 6
    small = ("--resolutions", "16,24", "--width-mult", 0.25, "--num-classes", 10)
    run("fofa-profile", "--device", "cpu", "--out", "luts/cpu.json", *small, "--budget-seconds", 1)
    assert Lut.read(place / "luts/cpu.json").method == "measured"
    tables = ("--lut", "luts/cpu.json", "--accuracy", "accuracy/mine.json")
    assert "@" in run("fofa-search", *tables, "--max-latency", 1000).stdout
    out = ("--architecture", "22222@16", "--out", "network.onnx", "--calibration-images", 20)
    run("fofa-export", "run", *out, "--test-images", 20)
    run("fofa-bench", *tables, "--tables", "other", "--figures", 4, "--out", "reports")
    assert (place / "reports" / "report.html").stat().st_size > 1000
    assert not list(installed.glob("*.json")), "something was written beside the program"


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_said(run: Run) -> None:
    options = ("--recipe", "fofa-n3", "--out", "run", "--device", "cuda")
    assert "no GPU" in run("fofa-train", *options, codes=(2,)).stderr
    options = ("--device", "cuda", "--out", "lut.json")
    assert run("fofa-profile", *options, codes=(2,)).stderr.startswith("fofa-profile: ")
    listed = run("fofa-profile", "--list").stdout
    assert "tensorrt" in listed


def interpreters() -> list[Path]:
    """Other Pythons on this machine: on the path, or where pyenv keeps them."""
    found = [Path(path) for version in NEWER if (path := shutil.which(f"python{version}"))]
    for version in NEWER:
        found += Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    answers = [
        subprocess.run(
            [python, "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        for python in found
    ]
    # A shim on the path may stand for a version that is not switched on: it does not answer.
    return sorted({Path(done.stdout.strip()) for done in answers if done.returncode == 0})


@pytest.mark.slow
def test_newer_pythons_take_the_source_and_run_the_search_space(tmp_path: Path) -> None:
    """Without the requirements: every file compiles, and the part that needs none of them runs."""
    others = interpreters()
    if not others:
        pytest.skip(f"none of Python {', '.join(NEWER)} on this machine")
    name = "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4+5x4-7x6+3x3@192"
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from fofa.space import parse_architecture\n"
        "print(parse_architecture(sys.argv[2]))\n"
    )
    for python in others:
        copy = tmp_path / python.parent.parent.name
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package)
        compiled = ["-W", "error", "-m", "compileall", "-q", "-f", str(copy)]
        done = subprocess.run([python, *compiled], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{python}: {done.stdout}{done.stderr}"
        done = subprocess.run(
            [python, "-c", code, str(copy), name], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == name, f"{python}: {done.stderr}"
