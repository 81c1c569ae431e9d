"""Measures the networks of a bundle on the machine that it runs on, and writes the samples down.

    python agent.py                  in the unpacked bundle; a run that was killed is continued
    python agent.py --cores 4-7      on these cores only

It needs Python 3.8, numpy and onnxruntime, nothing else; in a bundle it is one file, into which the
modules of fofa that are imported below were written (`profilers.remote.bundle.agent_text`). Each
finished round is a line of `samples.jsonl`, flushed to disk.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import json
import os
import sys
import time
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fofa.runtime.int8_weights import quantise_weight
from profilers.hardware.cores import affinity, numbers_in, pinned
from profilers.hardware.load import OtherPrograms
from profilers.measuring.schedule import SESSION_GAP_SECONDS, order_of_round, plan_schedule
from profilers.remote.machine import machine_record, round_state, state_record

PROVIDER = "CPUExecutionProvider"
SAMPLES = "samples.jsonl"
LOG = "log"
PROCESS = "pid"
MEMORY_SHARE = 0.7
"""Of the free memory that the networks may take; beyond it each is opened for its visit alone."""
ELEMENT_TYPES = {"fp32": np.float32, "fp16": np.float16, "int8": np.float32}
"""Of weights that are not in 8 bits."""
INPUT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class AgentError(Exception):
    """Something that the person who started the agent can mend, in one sentence."""


class BusyError(AgentError):
    """Another agent is at work here."""


class Progress:
    """Says on the standard error how far it is: one line that changes, or one line a tenth."""

    def __init__(self) -> None:
        self._stage, self._total, self._done, self._shown = "", 1, 0, -1

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """A new part begins."""
        self._stage, self._total, self._done, self._shown = name, max(total, 1), done, -1
        self._show()

    def advance(self) -> None:
        """One step of the part is done."""
        self._done += 1
        self._show()

    def _show(self) -> None:
        live = sys.stderr.isatty()
        step = self._done if live else 10 * self._done // self._total
        if step == self._shown:
            return
        self._shown = step
        end = "\n" if not live or self._done >= self._total else ""
        text = f"{self._stage} {self._done}/{self._total}"
        print(("\r" + text.ljust(40)) if live else text, end=end, file=sys.stderr, flush=True)


class Bundle:
    """The files of a bundle, and what a runtime needs of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.plan = json.loads((folder / "plan.json").read_text("utf-8"))
            self.noise = np.fromfile(str(folder / "noise.f32"), np.float32)
        except (OSError, ValueError) as error:
            raise AgentError(f"not an unpacked bundle: {error}") from None
        self.settings = types.SimpleNamespace(**self.plan["settings"])
        self.names = [item["name"] for item in self.plan["items"]]
        self._graphs = [item["graph"] for item in self.plan["items"]]

    def network(self, item: int) -> dict[str, Any]:
        """An item's graph without weights, the shape of its input, and by their names its weights
        (shape, where in the noise each begins, scale) and its layers in 8 bits (weight, bias or
        None, what a step of the input is worth)."""
        graph, cuts = self.plan["graphs"][self._graphs[item]], self.plan["weights"]
        layers = []
        for name, number in graph["layers"]:
            weight, bias, step = self.plan["layers"][number]
            layers.append([name, [cuts[weight], None if bias is None else cuts[bias], step]])
        return {
            "model": (self.folder / graph["file"]).read_bytes(),
            "input": graph["input"],
            "weights": [[name, cuts[number]] for name, number in graph["weights"]],
            "layers": layers,
        }

    def num_bytes(self) -> int:
        """Of the weights of all items."""
        sizes = [int(np.prod(shape)) for shape, _, _ in self.plan["weights"]]
        size = np.dtype(ELEMENT_TYPES[self.plan["dtype"]]).itemsize
        num_bytes = 0
        for number in self._graphs:
            graph = self.plan["graphs"][number]
            num_bytes += sum(size * sizes[weight] for _, weight in graph["weights"])
            num_bytes += sum(sizes[self.plan["layers"][layer][0]] for _, layer in graph["layers"])
        return num_bytes


class OnnxRuntime:
    """Opens networks, with weights that all of them share."""

    def __init__(self, bundle: Bundle) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise AgentError(
                f"onnxruntime cannot be imported ({error}): pip install onnxruntime"
            ) from None
        self.runtime, self.version = onnxruntime, str(onnxruntime.__version__)
        self._threads, self._noise = bundle.plan["threads"], bundle.noise
        self._kind = ELEMENT_TYPES[bundle.plan["dtype"]]
        self._weights: dict[str, dict[str, tuple[np.ndarray, Any]]] = {}

    def open(self, network: dict[str, Any]) -> OnnxRunner:
        """A network (`Bundle.network`), ready to run."""
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        given = self.weights_of(network)
        if given:
            options.add_external_initializers(list(given), list(given.values()))
        session = self.runtime.InferenceSession(network["model"], options, providers=[PROVIDER])
        value = session.get_inputs()[0]
        kind, shape = INPUT_TYPES[value.type], tuple(network["input"] or value.shape)
        images = np.random.default_rng(0).standard_normal(shape, np.float32)
        if kind is np.uint8:
            images = np.clip(32 * images + 128, 1, 255)
        return OnnxRunner(session, {value.name: images.astype(kind)})

    def weights_of(self, network: dict[str, Any]) -> dict[str, Any]:
        """All that a network is to be given, by the names that it has in the graph."""
        given = {name: self._made(self._plain, cut)[""] for name, cut in network["weights"]}
        for name, layer in network["layers"]:
            for part, value in self._made(self._rounded, layer).items():
                given[name + "." + part] = value
        return given

    def _made(
        self, make: Callable[..., dict[str, np.ndarray]], recipe: list[Any]
    ) -> dict[str, Any]:
        """Arrays for the runtime, made once for all networks that have the same."""
        key = repr(recipe)
        if key not in self._weights:
            to_value = self.runtime.OrtValue.ortvalue_from_numpy
            # The runtime points into the arrays, which must live as long.
            self._weights[key] = {
                part: (array, to_value(array)) for part, array in make(*recipe).items()
            }
        return {part: value for part, (_, value) in self._weights[key].items()}

    def _plain(self, *cut: Any) -> dict[str, np.ndarray]:
        return {"": self._cut(*cut).astype(self._kind, copy=False)}

    def _rounded(self, weight: list[Any], bias: list[Any] | None, step: float) -> dict[str, Any]:
        offsets, scale = None if bias is None else self._cut(*bias), np.float32(step)
        return quantise_weight(self._cut(*weight), offsets, scale, "channel").parts(scale)

    def _cut(self, shape: list[int], start: int, scale: float) -> np.ndarray:
        values = np.resize(np.roll(self._noise, -start), int(np.prod(shape))).reshape(shape)
        return values * np.float32(scale)


class OnnxRunner:
    """A session that is run as people run it; every run allocates its output."""

    def __init__(self, session: Any, inputs: dict[str, np.ndarray]) -> None:
        self._session, self._inputs = session, inputs

    def run(self) -> float:
        """Run once; milliseconds."""
        start = time.perf_counter_ns()
        self._session.run(None, self._inputs)
        return (time.perf_counter_ns() - start) / 1e6

    def visit(self, warmup: int, samples: int) -> list[float]:
        """Run `warmup` times unrecorded, then `samples` times."""
        for _ in range(warmup):
            self.run()
        return [self.run() for _ in range(samples)]


class OpenedForVisit:
    """An item of a machine whose memory does not hold all of them: opened when it is visited."""

    def __init__(self, runtime: OnnxRuntime, bundle: Bundle, item: int) -> None:
        self._runtime, self._bundle, self._item = runtime, bundle, item

    def visit(self, warmup: int, samples: int) -> list[float]:
        """Open it, run it, and let it go."""
        return self._runtime.open(self._bundle.network(self._item)).visit(warmup, samples)


class Samples:
    """The file of samples: a header, a line a round, and a line at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise AgentError(f"{path}: cannot write: {error.strerror}") from None
        self._lock()
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        self._file.truncate(sum(len(line) + 1 for line in lines[:-1]))  # a line that was cut short
        self.lines = [line for line in lines[:-1] if line]

    def append(self, record: dict[str, Any]) -> None:
        """Add a line and have it on the disk."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False).encode())
        self._file.write(b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Begin anew."""
        self._file.truncate(0)
        self.lines = []

    def read(self) -> list[dict[str, Any]]:
        """The records so far."""
        try:
            records = [json.loads(line) for line in self.lines]
            if records and "plan" not in records[0]:
                raise ValueError("no header")
            return records
        except ValueError:
            raise AgentError(f"{self.path}: damaged; --fresh discards it") from None

    def _lock(self) -> None:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BusyError(f"{self.path}: another agent measures into it") from None


def main() -> int:
    """Measure; returns the exit code."""
    folder = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Measure the networks of this bundle.")
    parser.add_argument("--samples", type=Path, default=folder / SAMPLES, help="file to write")
    parser.add_argument("--cores", help="measure on these cores only, such as 4-7 or 0,2")
    parser.add_argument("--fresh", action="store_true", help="discard an interrupted measurement")
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    parser.add_argument("--serve", action="store_true", help="take requests on the standard input")
    chosen = parser.parse_args()
    try:
        bundle = Bundle(folder)
        cores = wanted_cores(chosen.cores or bundle.plan["cores"])
        if find_spec("onnxruntime") is None:
            raise AgentError("onnxruntime is not installed: pip install onnxruntime")
        samples = None if chosen.serve else Samples(chosen.samples)
        if chosen.fresh and samples is not None:
            samples.clear()
        if chosen.detach and not detach(folder):
            return 0
        runtime, machine = OnnxRuntime(bundle), machine_record()
        with pinned(bundle.plan["threads"], cores) as used:
            if cores is not None and used is None:
                raise AgentError(f"cores {sorted(cores)}: not possible here")
            if samples is None:
                serve(runtime, machine, used)
            else:
                measure(bundle, runtime, machine, used, samples)
    except AgentError as error:
        print(f"agent: error: {error}", file=sys.stderr, flush=True)
        return 3 if isinstance(error, BusyError) else 2
    return 0


def wanted_cores(text: str | None) -> frozenset[int] | None:
    """The cores in a list such as `4-7`; None for any."""
    if text is None:
        return None
    try:
        cores = frozenset(numbers_in(text))
    except ValueError:
        raise AgentError(f"cores {text!r}: expected a list such as 4-7 or 0,2") from None
    allowed = affinity()
    if allowed is None:
        raise AgentError("this system keeps no program on chosen cores")
    if not cores or not cores <= allowed:
        raise AgentError(f"cores {text}: this machine has {sorted(allowed)}")
    return cores


def measure(
    bundle: Bundle,
    runtime: OnnxRuntime,
    machine: dict[str, Any],
    cores: frozenset[int] | None,
    samples: Samples,
) -> None:
    """Make the rounds that are missing."""
    plan, progress, before = bundle.plan, Progress(), state_record()
    of = {"bundle": plan["id"], "runtime": "onnxruntime " + runtime.version}
    records = samples.read()
    header = records[0] if records else None
    if header is not None and any(header[name] != value for name, value in of.items()):
        raise AgentError(f"{samples.path}: holds another measurement; --fresh discards it")
    if records and "end" in records[-1]:
        print(f"finished: {samples.path}", file=sys.stderr, flush=True)
        return
    began = time.perf_counter()
    canary, runners = open_all(bundle, runtime, progress)
    gc.collect()
    gc.disable()  # not in the middle of a measurement
    schedule = plan_schedule(
        runners,
        canary,
        bundle.settings,
        time.perf_counter() + bundle.settings.budget_seconds,
        time.perf_counter,
        progress,
    )
    if header is None:
        header = {
            "schema": "fofa.remote/1",
            **of,
            "request": plan["request"],
            "items": plan["digest"],
            "provider": PROVIDER,
            "pinned_cores": sorted(cores) if cores else None,
            "machine": machine,
            "before": before,
            "plan": schedule,
        }
        samples.append(header)
    schedule, finished = header["plan"], records[1:]
    last = max((visit[1] for record in finished for visit in record["visits"]), default=None)
    origin = time.perf_counter() - (0.0 if last is None else last + SESSION_GAP_SECONDS)
    meter, steps = OtherPrograms(), len(runners)
    progress.stage("measuring", schedule["rounds"] * steps, len(finished) * steps)
    for number in range(len(finished), schedule["rounds"]):
        meter.interference()
        visits = make_round(number, schedule, bundle, canary, runners, origin, progress)
        load = meter.interference()._asdict()
        samples.append({"round": number, "visits": visits, **load, "state": round_state(cores)})
    end = {
        "seconds": round(time.perf_counter() - began, 1),
        "resumed_rounds": len(finished),
        "after": state_record(),
    }
    samples.append({"end": end})
    print(f"finished: {samples.path}", file=sys.stderr, flush=True)


def make_round(
    number: int,
    schedule: dict[str, Any],
    bundle: Bundle,
    canary: OnnxRunner,
    runners: dict[str, Any],
    origin: float,
    progress: Progress,
) -> list[list[Any]]:
    """One visit of every item, in this round's order, the canary between them: of each its number
    among the items, the seconds since `origin`, and the milliseconds of its runs."""
    visits = []
    seed, every = bundle.settings.seed, schedule["canary_every"]
    for name in order_of_round(list(runners), seed, number, every):
        seconds = round(time.perf_counter() - origin, 6)
        if name is None:
            found = canary.visit(schedule["warmup_runs"], bundle.settings.min_samples)
        else:
            warmup = schedule["warmups"].get(name, schedule["warmup_runs"])
            found = runners[name].visit(warmup, schedule["samples"][name])
            progress.advance()
        item = 0 if name is None else bundle.names.index(name)
        visits.append([item, seconds, [round(ms, 6) for ms in found]])
    return visits


def open_all(
    bundle: Bundle, runtime: OnnxRuntime, progress: Progress
) -> tuple[OnnxRunner, dict[str, Any]]:
    """The canary, and every other item by its name."""
    available = state_record(0.0)["memory_available_bytes"]
    # A runtime packs the weights of each network anew, beside those that all share.
    roomy = available is None or bundle.num_bytes() < MEMORY_SHARE * available
    progress.stage("building", len(bundle.names))
    canary = runtime.open(bundle.network(0))
    progress.advance()
    runners: dict[str, Any] = {}
    for item, name in enumerate(bundle.names[1:], 1):
        runners[name] = (
            runtime.open(bundle.network(item)) if roomy else OpenedForVisit(runtime, bundle, item)
        )
        progress.advance()
    return canary, runners


def detach(folder: Path) -> bool:
    """Go on as a process of its own, which no broken link ends; false in the one that was called.

    What it says goes to `log`, its number to `pid`.
    """
    sys.stderr.flush()
    child = os.fork()
    if child:
        (folder / PROCESS).write_text(f"{child}\n")
        return False
    os.setsid()
    log = os.open(str(folder / LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return True


def serve(runtime: OnnxRuntime, machine: dict[str, Any], cores: frozenset[int] | None) -> None:
    """Answer requests, a line each, until the input ends: open, visit and close networks."""
    meter, opened = OtherPrograms(), {}
    for line in sys.stdin:
        request = json.loads(line)
        kind, key = request["do"], request.get("network")
        answer: Any = {}
        try:
            if kind == "machine":
                answer = {
                    "runtime": "onnxruntime " + runtime.version,
                    "provider": PROVIDER,
                    "pinned_cores": sorted(cores) if cores else None,
                    "machine": machine,
                    "state": state_record(),
                }
            elif kind == "state":
                answer = round_state(cores)
            elif kind == "meter":
                answer = meter.interference()._asdict()
            elif kind == "open":
                model = base64.b64decode(request["model"])
                opened[key] = runtime.open({**request, "model": model})
                opened[key].run()
            elif kind == "close":
                opened.pop(key, None)
            else:
                found = opened[key].visit(request["warmup"], request["samples"])
                answer = {"samples_ms": [round(ms, 6) for ms in found]}
        except Exception as error:  # the runtime raises a class of its own per fault
            answer = {"fault": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        print(json.dumps(answer, allow_nan=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
