"""Real processes for the tests of reliability: started, killed, and looked at afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_SECONDS

from fofa.latency import Lut

MODULES = {
    "fofa": "fofa.commands.umbrella",
    "fofa-train": "fofa.commands.train",
    "fofa-eval": "fofa.commands.evaluate",
    "fofa-search": "fofa.commands.search",
    "fofa-export": "fofa.commands.export",
    "fofa-import": "fofa.commands.import_checkpoint",
    "fofa-finetune": "fofa.commands.finetune",
    "fofa-predictor": "fofa.commands.predictor",
    "fofa-profile": "profilers.commands.profile",
    "fofa-bench": "bench.commands.bench",
    "fofa-reproduce": "bench.commands.reproduce",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code (negative: the signal) and what it wrote."""

    name: str
    code: int
    stdout: str
    stderr: str

    def check(self, *codes: int) -> Ended:
        """Fail unless it ended with one of `codes`, without a traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        assert self.code in codes, f"{self.name}: exit code {self.code}: {self.stderr}"
        return self

    def complaint(self) -> str:
        """The one line that says what is wrong; fails unless it ended with exit code 2."""
        self.check(2)
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        assert lines, f"{self.name} said nothing"
        if "Usage:" in self.stderr:
            assert lines[-1].startswith("Error: "), self.stderr
        else:
            assert lines[-1].startswith(f"{self.name}: "), self.stderr
            assert sum(line.startswith(f"{self.name}: ") for line in lines) == 1, self.stderr
        return lines[-1]


def read(path: Path) -> str:
    """What a program wrote; names of files need not be text."""
    return path.read_text(encoding="utf-8", errors="replace")


@dataclass(slots=True)
class Program:
    """A program that was started; `ask` tells the exit code of its process, once."""

    name: str
    number: int
    stdout: Path
    stderr: Path
    ask: Callable[[int], int | None]
    code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        if self.code is None:
            self.code = self.ask(self.number)
        return self.code

    def kill(self) -> Ended:
        """Kill it, so that it can do nothing about it."""
        if self.poll() is None:
            os.killpg(self.number, signal.SIGKILL)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.poll() is None:
            os.kill(self.number, number)

    def wait(self, timeout: float = PATIENCE_SECONDS) -> Ended:
        """How it ended; a program that does not end in time fails the test."""
        code = self.wait_until(lambda: False, timeout)
        if code is None:
            self.kill()
            pytest.fail(f"{self.name} did not end in {timeout:g} s: {read(self.stderr)}")
        return Ended(self.name, code, *map(read, (self.stdout, self.stderr)))

    def wait_until(
        self, condition: Callable[[], bool], timeout: float = PATIENCE_SECONDS
    ) -> int | None:
        """Wait for the condition or the program's end, and return its exit code, if it ended."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            code = self.poll()
            if code is not None or condition():
                return code
            time.sleep(0.005)
        return None


@dataclass(slots=True)
class Programs:
    """Starts programs; each `run` waits for the end of one."""

    starter: subprocess.Popen[str]
    folder: Path
    started: int = 0

    def start(
        self,
        name: str,
        *arguments: object,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Program:
        """Start the program `name` (or a module with a `main`) without waiting for it."""
        self.started += 1
        stdout, stderr = (self.folder / f"{self.started}.{kind}" for kind in ("out", "err"))
        request = {
            "name": name,
            "module": MODULES.get(name, name),
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd or self.folder),
            "env": {"COLUMNS": "200", **(env or {})},
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        return Program(name, self._ask({"start": request}), stdout, stderr, self._poll)

    def run(self, name: str, *arguments: object, **places: Any) -> Ended:
        """Run the program `name` to its end."""
        return self.start(name, *arguments, **places).wait()

    def _poll(self, number: int) -> int | None:
        code: int | None = self._ask({"poll": number})
        return code

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.starter.stdin is not None
        assert self.starter.stdout is not None
        self.starter.stdin.write(json.dumps(request) + "\n")
        self.starter.stdin.flush()
        return json.loads(self.starter.stdout.readline())


def lean_environment() -> dict[str, str]:
    """This process's environment with one thread for every library."""
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **single}


STEADY_PLUGIN = """
import time
from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from profilers.plugin import Availability, MeasuringPlugin, Runner, Session
from profilers.measuring.simulation import SimulatedDevice

class SteadyRunner(Runner):
    def __init__(self, latency_ms):
        self.latency_ms = latency_ms

    def run(self):
        time.sleep(1e-5)
        return self.latency_ms

    def close(self):
        pass

class SteadySession(Session):
    def __init__(self, batch_size):
        self.batch_size = batch_size

    @property
    def protocol(self):
        return ProtocolRecord(
            plugin="steady", runtime="made up", dtype="fp32", batch_size=self.batch_size
        )

    def lower(self, blocks):
        return SteadyRunner(SimulatedDevice().latency_ms(blocks))

    def load(self, network):
        raise UserError(f"{network}: nothing is loaded here")

class Steady(MeasuringPlugin):
    name = "steady"
    summary = "the same time at every run"

    def availability(self):
        return Availability(True)

    def open(self, options):
        batch_size = 1 if options.batch_size is None else options.batch_size
        if batch_size < 1:
            raise UserError(f"steady: batch size {batch_size}")
        return SteadySession(batch_size)
"""


def install_steady_plugin(folder: Path) -> None:
    """Put a plugin into `folder` that takes the same time at every run, as pip would install it."""
    (folder / "steady_plugin.py").write_text(STEADY_PLUGIN)
    info = folder / "steady_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: steady-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fofa.profilers]\nsteady = steady_plugin:Steady\n")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Starts the project's programs as processes of their own."""
    folder = tmp_path_factory.mktemp("programs")
    plugins = tmp_path_factory.mktemp("plugins")
    install_steady_plugin(plugins)
    starter = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("starter.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=lean_environment() | {"PYTHONPATH": str(plugins), "TMPDIR": str(folder)},
    )
    with starter:
        yield Programs(starter, folder)
        assert starter.stdin is not None
        starter.stdin.close()


TINY_TRAINING: Sequence[object] = (
    *("--preset", "shapes", "--width-mult", 0.25, "--resolutions", "16,24", "--device", "cpu"),
    *("--batch-size", 4, "--threads", 1, "--no-tensorboard"),
)
"""Options of a training run of a second or two: 10 steps an epoch."""


@pytest.fixture(scope="session")
def tiny_run(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small supernet, trained for a few steps; tests only read it."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    programs.run(
        *("fofa-train", "--recipe", "fofa-n3", "--out", folder, "--epoch-scale", 0.002),
        *TINY_TRAINING,
    ).check(0)
    return folder


@pytest.fixture(scope="session")
def tiny_training() -> Sequence[object]:
    """Options of `fofa-train` for a run of a second or two: 10 steps an epoch."""
    return TINY_TRAINING


STEADY: Sequence[object] = (
    *("--device", "steady", "--resolutions", "16,24", "--width-mult", 0.25, "--num-classes", 10),
    *("--budget-seconds", 2, "--session-gap", 0),
)
"""Options of `fofa-profile` for a device that takes the same time at every run."""
NAMES = [f"{a}{b}{b}{a}{c}" for a in "234" for b in "24" for c in "34"]


@pytest.fixture(scope="session")
def steady() -> Sequence[object]:
    """Options of `fofa-profile` for a device that takes the same time at every run."""
    return STEADY


@pytest.fixture(scope="session")
def tiny_tables(
    programs: Programs, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the tables of the small supernet: `accuracy/tiny.json`, `luts/steady.json`."""
    folder = tmp_path_factory.mktemp("tables")
    names = ",".join(f"{name}@{resolution}" for resolution in (16, 24) for name in NAMES)
    evaluation = ("--architectures", names, "--calibration-images", 40, "--device", "cpu")
    out = folder / "accuracy" / "tiny.json"
    programs.run("fofa-eval", tiny_run, "--out", out, *evaluation).check(0)
    lut = folder / "luts" / "steady.json"
    programs.run("fofa-profile", *STEADY, "--out", lut).check(0)
    # Its times are made up, so it does not matter what else ran on this machine.
    Lut.read(lut).model_copy(update={"stability": None}).write(lut)
    made = ("--accuracy-dir", "accuracy", "--luts-dir", "luts", "--constraints", "matched")
    programs.run("fofa-bench", *made, "--update-baseline", "baseline.json", cwd=folder).check(0)
    return folder


@pytest.fixture(scope="session")
def foreign_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small supernet's weights as OFA's programs save them."""
    import torch

    from fofa.supernet.config import SupernetConfig
    from fofa.supernet.foreign import legacy_names
    from fofa.supernet.model import Supernet

    supernet = Supernet(SupernetConfig(width_mult=0.1, num_classes=4))
    names = legacy_names(supernet)
    state = {names[key]: value for key, value in supernet.state_dict().items() if key in names}
    path = tmp_path_factory.mktemp("foreign") / "checkpoint.pth"
    torch.save({"state_dict": state}, path)
    return path
