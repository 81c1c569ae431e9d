"""MNN on the CPU: networks converted to its own format, opened and run, without a word from it.

The tools of its package (`MNN.tools`) are left alone: importing them installs another package, and
running them sends what was converted to its makers. The library below them does the converting. A
graph that it does not take may end its process, and its messages go to the standard output, so it
has a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from fofa.errors import UserError
from fofa.runtime.graph import graph_inputs

INSTALL_HINT = "pip install 'fofa-nas[mnn]'"
PRECISION = "normal"
"""MNN's own default, which is fp32 on every CPU."""
CONVERTER = """
import sys
library, source, target = sys.argv[1:]
sys.path.insert(0, library)
import _tools
_tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", target,
                   "--bizCode", sys.stdin.read()])
"""
"""Its answer says nothing; the file is there if it went well."""


def load_mnn() -> ModuleType:
    """The module `MNN`.

    Raises:
        UserError: saying what to install, if it cannot be imported.
    """
    if loaded := sys.modules.get("MNN"):
        return loaded
    with _silenced():
        try:
            return importlib.import_module("MNN")
        except ImportError as error:
            raise UserError(f"MNN cannot be imported ({error}): {INSTALL_HINT}") from None


def convert(model: onnx.ModelProto, description: str = "fofa") -> bytes:
    """An ONNX model as the content of an MNN file, in fp32.

    Args:
        description: ASCII text that the file keeps, as what MNN calls `bizCode`.

    Raises:
        UserError: if MNN is not installed or does not take the model.
    """
    package = find_spec("MNN")
    if package is None or package.origin is None:
        raise UserError(f"MNN is not installed: {INSTALL_HINT}")
    library = Path(package.origin).parents[1]
    with tempfile.TemporaryDirectory(prefix="fofa-mnn-") as folder:
        source, target = Path(folder) / "network.onnx", Path(folder) / "network.mnn"
        source.write_bytes(model.SerializeToString())
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", CONVERTER, str(library), str(source), str(target)],
            input=description,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,  # where it leaves a file of its own
        )
        if done.returncode or not target.is_file():
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
            reason = " ".join([line for line in said if line][-2:]) or f"exit {done.returncode}"
            raise UserError(f"MNN's converter does not take the network: {reason}")
        return target.read_bytes()


class MnnRuntime:
    """MNN on the CPU with a number of threads, and the memory that its networks share.

    Raises:
        UserError: if MNN cannot be imported.
    """

    def __init__(self, threads: int) -> None:
        self._mnn = load_mnn()
        settings = {"backend": "CPU", "precision": PRECISION, "numThread": threads}
        with _silenced():
            self._manager = self._mnn.nn.create_runtime_manager((settings,))

    @property
    def version(self) -> str:
        """Of MNN."""
        return str(self._mnn.version())

    def open(self, model: onnx.ModelProto) -> MnnNetwork:
        """The model, converted and loaded.

        Raises:
            UserError: if it has not one input and one output, or MNN does not take it.
        """
        return self.open_converted(convert(model), model)

    def open_converted(self, content: bytes, model: onnx.ModelProto) -> MnnNetwork:
        """The same where `content` is what `convert` made of the model."""
        takes = [value.name for value in graph_inputs(model)]
        gives = [value.name for value in model.graph.output]
        if len(takes) != 1 or len(gives) != 1:
            raise UserError(
                f"MNN: {len(takes)} inputs and {len(gives)} outputs, expected one of each"
            )
        with tempfile.TemporaryDirectory(prefix="fofa-mnn-") as folder, _silenced():
            path = Path(folder) / "network.mnn"
            path.write_bytes(content)
            # Weights are put into the order in which they are used at once, not at the first run,
            # and not kept as they were beside that: a network takes half of the memory.
            module = self._mnn.nn.load_module_from_file(
                str(path), takes, gives, runtime_manager=self._manager, rearrange=True
            )
        return MnnNetwork(self._mnn.expr, module)


class MnnNetwork:
    """A loaded network."""

    def __init__(self, expressions: Any, module: Any) -> None:
        self._expressions, self._module = expressions, module

    def given(self, values: np.ndarray) -> Any:
        """Images or feature maps, (N, C, H, W) in fp32, copied to where MNN can read them."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        kinds = self._expressions
        return kinds.const(values, values.shape, kinds.NCHW, kinds.float)

    def run(self, given: Any) -> Any:
        """Compute; returns when that is done. The result lies in MNN's memory."""
        return self._module.forward(given)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """What the network makes of `values`, a new array.

        Raises:
            UserError: if MNN cannot run it.
        """
        with _silenced():
            found = self.run(self.given(values)).read()
        if found is None or not found.size:
            raise UserError("MNN cannot run the network")
        return np.array(found, dtype=np.float32)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """What compiled code writes to the standard output meanwhile is lost."""
    system = ctypes.CDLL(None)
    system.fflush(None)
    kept = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        system.fflush(None)
        os.dup2(kept, 1)
        os.close(nothing)
        os.close(kept)
