"""What is carried to another machine: graphs without weights, the noise that all weights are cut
from, the plan, and the agent that measures. Less than 2 MB for a whole compound space, of which the
graphs with their weights would be 2 GB.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from fofa.files import write_bytes
from fofa.runtime.graph import noise_values
from fofa.space import BlockSpec
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import Item, Workload, plan_workload
from profilers.remote.request import RemoteOptions, RequestRecord
from profilers.remote.weightless import Cut, weightless
from profilers.tables.measured import LutRequest

AGENT = "profilers.remote.agent"
OURS = r"(?:profilers|fofa)\.[\w.]+"
"""Modules whose text the agent takes along."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file knows: the same request gives the same bytes."""
NEEDS_NUMPY = """\
try:
    import numpy
except ImportError as error:
    raise SystemExit(
        "agent: error: numpy cannot be imported ({}): pip install numpy onnxruntime".format(error)
    )


"""
README = """\
Unpack this on the machine that is to be measured (Python 3.8 or newer with numpy and onnxruntime):

    python agent.py                 or, on chosen cores:  python agent.py --cores 4-7

Then bring samples.jsonl back:

    fofa-profile --import samples.jsonl --out TABLE.json
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A measurement that is ready to be carried.

    Attributes:
        id: says which bundle samples belong to: a digest of what is measured and how.
        request: as it travels.
        files: by their names.
    """

    id: str
    request: RequestRecord
    workload: Workload
    settings: MeasureSettings
    files: dict[str, bytes]

    def to_bytes(self) -> bytes:
        """The zip file."""
        return zipped(self.files)

    def write(self, path: Path) -> int:
        """Write the zip file; returns its size in bytes.

        Raises:
            UserError: if it cannot be written.
        """
        data = self.to_bytes()
        write_bytes(path, data)
        return len(data)


@dataclass(slots=True)
class _Graphs:
    """Graphs, weights and 8-bit layers, each kept once."""

    batch_size: int
    dtype: str
    files: dict[str, bytes] = field(default_factory=dict)
    graphs: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[Cut, int] = field(default_factory=dict)
    layers: dict[tuple[int, int | None, float], int] = field(default_factory=dict)
    numbers: dict[tuple[BlockSpec, ...], int] = field(default_factory=dict)

    def add(self, blocks: Sequence[BlockSpec]) -> int:
        """The number of the graph of `blocks`."""
        key = tuple(blocks)
        if key in self.numbers:
            return self.numbers[key]
        self.numbers[key] = number = len(self.graphs)
        found = weightless(blocks, self.batch_size, self.dtype)
        file = f"graphs/{number:03d}.onnx"
        self.files[file] = found.model
        layers = {
            name: (self._number(layer.weight), layer.bias and self._number(layer.bias), layer.step)
            for name, layer in found.layers.items()
        }
        self.graphs.append(
            {
                "file": file,
                "input": found.input_shape,
                "weights": [[name, self._number(cut)] for name, cut in found.weights.items()],
                "layers": [
                    [name, self.layers.setdefault(layer, len(self.layers))]
                    for name, layer in layers.items()
                ],
            }
        )
        return number

    def _number(self, cut: Cut) -> int:
        return self.weights.setdefault(cut, len(self.weights))


def make_bundle(
    request: LutRequest,
    options: RemoteOptions,
    workload: Workload | None = None,
    settings: MeasureSettings | None = None,
) -> Bundle:
    """The bundle that measures `request`, or, in a further session, the given networks for it."""
    settings = settings or request.settings
    workload = workload or plan_workload(request.space, request.config, request.settings)
    items, record = items_of(workload), RequestRecord.of(request, options)
    graphs = _Graphs(options.batch_size, options.dtype)
    numbers = [graphs.add(item.blocks) for item in items]
    plan: dict[str, Any] = {
        "schema": "fofa.bundle/1",
        "request": record.model_dump(mode="json"),
        "digest": items_digest(workload),
        "settings": asdict(settings),
        "dtype": options.dtype,
        "threads": options.threads,
        "cores": options.cores,
        "items": [
            {"name": item.name, "graph": number}
            for item, number in zip(items, numbers, strict=True)
        ],
        "graphs": graphs.graphs,
        "weights": [cut.travelling() for cut in graphs.weights],
        "layers": list(graphs.layers),
    }
    content = [json.dumps(plan, sort_keys=True).encode(), *graphs.files.values()]
    name = plan["id"] = hashlib.sha256(b"".join(content)).hexdigest()
    return Bundle(
        id=name,
        request=record,
        workload=workload,
        settings=settings,
        files={
            "README": README.encode(),
            **_common_files(plan),
            **graphs.files,
        },
    )


def make_server(options: RemoteOptions) -> bytes:
    """A bundle of no networks, whose agent is told over a line what to run (zip file)."""
    plan = {
        "schema": "fofa.bundle/1",
        "settings": {},
        "dtype": options.dtype,
        "threads": options.threads,
        "cores": options.cores,
        "items": [],
        "graphs": [],
        "weights": [],
        "layers": [],
    }
    return zipped(_common_files(plan))


def _common_files(plan: dict[str, Any]) -> dict[str, bytes]:
    return {
        "agent.py": agent_text().encode(),
        "plan.json": json.dumps(plan, separators=(",", ":")).encode(),
        "noise.f32": noise_values().astype("<f4").tobytes(),
    }


def zipped(content: dict[str, bytes]) -> bytes:
    """A zip file of files by their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def items_of(workload: Workload) -> list[Item]:
    """All items in the order of their numbers: the canary first."""
    return [workload.canary, *workload.items]


def items_digest(workload: Workload) -> str:
    """Tells whether two versions of fofa time the same items for one request."""
    items = [(item.name, item.blocks) for item in items_of(workload)]
    return hashlib.sha256(repr(items).encode()).hexdigest()


def agent_text() -> str:
    """The agent as one file: its module, with the text of fofa's that it imports in their place."""
    included: dict[str, str] = {}
    _include(AGENT, included)
    futures = "from __future__ import annotations\n"
    parts = [f"# {name}\n{text.replace(futures, '')}" for name, text in included.items()]
    text = included[AGENT]
    docstring = text[: text.index(futures)]
    return f"#!/usr/bin/env python3\n{docstring}{futures}\n{NEEDS_NUMPY}" + "\n\n".join(parts)


def _include(module: str, included: dict[str, str]) -> None:
    """Add the text of `module`, after those of the modules that it imports from fofa."""
    package, _, name = module.rpartition(".")
    text = (files(package) / f"{name}.py").read_text("utf-8")
    for found in re.findall(rf"^from ({OURS}) import ", text, re.MULTILINE):
        if found not in included:
            _include(found, included)
    statement = rf"^from {OURS} import (\([^)]*\)|.*)\n"
    included[module] = re.sub(statement, "", text, flags=re.MULTILINE)
