"""docs/ci.md, followed word for word in a repository of somebody else's.

What a runner does is done here: steps one after the other, `action.yml` with its inputs. Only pip
is a stand-in that notes what was to be installed, because everything is installed already.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import made_up_tables
import numpy as np
import pytest
import yaml
from PIL import Image

from bench.gate.baseline import Baseline
from fofa.latency import Lut

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
CLASSES = ["cat", "dog"]
SIZES = (16, 24)
FEW = {
    "fofa-eval": "--limit 4 --calibration-images 4 --threads 1",
    "fofa-profile": "--budget-seconds 0.5 --sessions 1",
    "fofa-bench": "",
}
"""What the test adds to programs, so that they are soon done."""


def blocks(language: str, heading: str) -> list[str]:
    """The code blocks under a heading of the guide."""
    part = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)


class Runner:
    """Somebody's repository, and what a runner does in it."""

    def __init__(self, place: Path) -> None:
        self.place = place / "repository"
        self.temporary = place / "temporary"
        self.programs = place / "bin"
        self.installed = place / "installed.txt"
        for folder in (self.place, self.temporary, self.programs):
            folder.mkdir()
        self.installed.touch()
        for name, words in FEW.items():
            package = "fofa" if name == "fofa-eval" else name.replace("fofa-", "")
            package = {"profile": "profilers"}.get(package, package)
            code = f"from {package}.commands import {name.replace('-', '_')} as program; program()"
            self.shim(name, f'exec "{sys.executable}" -c "{code}" "$@" {words}')
        self.shim("pip", f'echo "$@" >> "{self.installed}"')
        self.shim(
            "python",
            f'[ "$1 $2" = "-m pip" ] || exec "{sys.executable}" "$@"\nshift 2; pip "$@"',
        )

    def shim(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def shell(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a step as GitHub runs bash."""
        files = {
            name: str(self.temporary / name.lower())
            for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
        }
        environment = (
            os.environ
            | files
            | {
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "RUNNER_TEMP": str(self.temporary),
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
            }
        )
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.place,
            env=environment | env,
            capture_output=True,
            text=True,
            check=False,
        )

    def action(self, inputs: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run this repository's action."""
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        assert not inputs.keys() - action["inputs"].keys(), "inputs that there are not"
        values = {name: entry["default"] for name, entry in action["inputs"].items()} | inputs

        def replaced(text: str) -> str:
            return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda m: str(values[m[1]]), text)

        done = None
        for step in action["runs"]["steps"]:
            if condition := step.get("if"):
                name, wanted = re.fullmatch(r"inputs\.([a-z-]+) == '(.*)'", condition).groups()
                if values[name] != wanted:
                    continue
            env = {name: replaced(value) for name, value in step["env"].items()}
            assert "${{" not in step["run"], "an input inside a script is run as one"
            done = self.shell(step["run"], **env)
            if done.returncode:
                break
        assert done is not None
        return done

    def follow(self, workflow: str) -> subprocess.CompletedProcess[str]:
        """Run the steps of a workflow's only job; the first that fails ends it."""
        (job,) = yaml.safe_load(workflow)["jobs"].values()
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/"):
                continue
            ours = step.get("uses") == "OWNER/fofa@main"
            done = self.action(step.get("with", {})) if ours else self.shell(step["run"])
            if done.returncode:
                break
        return done

    @property
    def summary(self) -> str:
        return (self.temporary / "github_step_summary").read_text(encoding="utf-8")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A repository with tables and a baseline, made as the guide says."""
    found = Runner(tmp_path)
    fields = {"width_mult": 0.25, "resolutions": SIZES}
    made_up_tables.make_accuracy(**fields).write(found.place / "accuracy" / "mine.json")
    made_up_tables.make_lut(**fields).write(found.place / "luts" / "cpu.json")
    begin(found)
    return found


def begin(runner: Runner) -> None:
    assert runner.shell("git init -q").returncode == 0
    done = runner.shell(*blocks("sh", "In three commands"))
    assert done.returncode == 0, done.stderr
    assert "baseline.json" in runner.shell("git diff --cached --name-only").stdout


def slow_down(runner: Runner) -> None:
    """Every latency of the table doubles."""
    path = runner.place / "luts" / "cpu.json"
    lut = Lut.read(path)
    slower = [
        entry.model_copy(update={"latency_ms": 2 * entry.latency_ms}) for entry in lut.entries
    ]
    lut.model_copy(update={"entries": slower}).write(path)


def test_the_gate_from_committed_tables(runner: Runner) -> None:
    workflow = blocks("yaml", "GitHub Actions")[0]
    done = runner.follow(workflow)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held" in done.stdout
    assert "### Accuracy at latency limits" in runner.summary
    words = runner.installed.read_text().splitlines()
    assert words == [
        f"install --quiet -r {ROOT}/.ci/gate-requirements.txt",
        f"install --quiet --no-deps {ROOT}",
    ]
    slow_down(runner)
    done = runner.follow(workflow)
    assert done.returncode == 1
    assert "::error title=fofa-bench::regressed: cpu" in done.stdout
    assert "code=1" in (runner.temporary / "github_output").read_text()


def test_a_baseline_that_is_not_there_fails_whatever_is_allowed(runner: Runner) -> None:
    done = runner.action({"baseline": "nothing.json", "allow-not-compared": "true"})
    assert done.returncode == 2
    assert done.stderr == "fofa-bench: nothing.json: no such file\n"


def test_what_cannot_be_compared_passes_where_allowed(runner: Runner) -> None:
    path = runner.place / "luts" / "cpu.json"
    lut = Lut.read(path)
    protocol = lut.protocol.model_copy(update={"threads": 2})
    lut.model_copy(update={"protocol": protocol}).write(path)
    assert runner.action({}).returncode == 2
    assert runner.action({"allow-not-compared": "true"}).returncode == 0


def test_inputs_are_never_run(runner: Runner) -> None:
    done = runner.action({"baseline": "$(touch ran)`touch ran`", "lut": "a b; touch ran\n\nc"})
    assert done.returncode == 2
    assert not (runner.place / "ran").exists()


def test_gitlab(runner: Runner) -> None:
    (workflow,) = blocks("yaml", "GitLab CI")
    (job,) = yaml.safe_load(workflow).values()
    done = runner.shell("\n".join(job["script"]))
    assert done.returncode == 0, done.stderr
    assert (runner.place / job["artifacts"]["reports"]["junit"]).is_file()


def test_accepting_a_change(runner: Runner) -> None:
    slow_down(runner)
    before = Baseline.read(runner.place / "baseline.json")
    done = runner.shell(*blocks("sh", "Accepting a change"))
    assert done.returncode == 0, done.stderr
    assert '"latency_ms"' in done.stdout
    after = Baseline.read(runner.place / "baseline.json")
    assert after != before
    assert runner.follow(blocks("yaml", "GitHub Actions")[0]).returncode == 0


@pytest.mark.slow
def test_weights_evaluated_and_a_device_measured_in_the_build(tmp_path: Path, make_run) -> None:
    runner = Runner(tmp_path)
    draw = np.random.default_rng(0)
    for side in ("train", "val"):
        for name in CLASSES:
            folder = runner.place / "data" / side / name
            folder.mkdir(parents=True)
            for number in range(4):
                picture = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{number}.png")
    make_run(
        runner.place / "runs" / "mine",
        class_names=CLASSES,
        dataset="folder",
        data_spec="folder:data",
        resolutions=list(SIZES),
    )
    made_up_tables.make_lut(width_mult=0.25, resolutions=SIZES).write(
        runner.place / "luts" / "cpu.json"
    )
    _, evaluating, measuring = blocks("yaml", "GitHub Actions")
    steps = yaml.safe_load(evaluating)["jobs"]["accuracy-at-latency"]["steps"]
    (evaluation,) = [step["run"] for step in steps if "fofa-eval" in step.get("run", "")]
    assert runner.shell(evaluation).returncode == 0
    begin(runner)
    done = runner.follow(evaluating)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held" in done.stdout
    assert "install fofa-nas@git+" in runner.installed.read_text()
    done = runner.follow(measuring)
    if "not written, because" in done.stderr:
        pytest.skip("this machine is too busy to measure anything on it")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::warning title=fofa-bench::not compared: cpu" in done.stdout
    *_, in_a_shell = blocks("sh", "GitHub Actions")
    assert runner.shell(in_a_shell).returncode == 0


@pytest.mark.skipif(
    subprocess.run(["git", "lfs", "version"], capture_output=True, check=False).returncode != 0,
    reason="no git-lfs here",
)
def test_the_run_in_git_lfs(runner: Runner) -> None:
    for name in ("run.json", "weights.safetensors", "checkpoint/state.safetensors"):
        path = runner.place / "runs" / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("some weights")
    done = runner.shell(blocks("sh", "GitHub Actions")[0])
    assert done.returncode == 0, done.stderr
    added = runner.shell("git diff --cached --name-only").stdout.split()
    assert "runs/mine/weights.safetensors" in added
    assert not [name for name in added if "checkpoint" in name]
    assert "git-lfs" in runner.shell("git show :runs/mine/weights.safetensors").stdout
