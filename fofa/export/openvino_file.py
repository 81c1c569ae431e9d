"""OpenVINO's own files (IR): `NET.xml`, the graph, with `NET.bin`, its weights, beside it.

The network is run from such files before any is written; what is written then differs from them in
the description only, which says the accuracy too. It is the runtime information `fofa`, as JSON.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.files import check_replaceable, write_bytes
from fofa.runtime.openvino import load_openvino, openvino_core
from fofa.runtime.session import Logits, in_batches

INFO_KEY = "fofa"


@dataclass(frozen=True, slots=True)
class OpenVinoFiles:
    """The content of the two files."""

    xml: bytes
    weights: bytes

    def logits(self) -> Logits:
        """OpenVINO on the CPU, in the precision of the files, with as many threads as torch.

        Where the batch size is fixed, images are run in batches of it, the last one filled up.
        """
        core = openvino_core()
        with tempfile.TemporaryDirectory(prefix="fofa-openvino-") as folder:
            path = Path(folder) / "network.xml"
            self.write(path)
            settings = {
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            compiled: Any = core.compile_model(core.read_model(path), "CPU", settings)
        first = compiled.input(0).partial_shape[0]
        batch_size = first.get_length() if first.is_static else None

        def run(images: Tensor) -> np.ndarray:
            return in_batches(images.numpy(), batch_size, lambda batch: compiled(batch)[0].copy())

        return run

    def write(self, path: Path) -> None:
        """Write `path` (.xml), and the weights beside it first.

        Raises:
            UserError: if one of them cannot be written.
        """
        beside = path.with_suffix(".bin")
        if beside.is_dir():
            raise UserError(f"{beside}: is a folder, expected a file to write the weights to")
        check_replaceable(path)
        check_replaceable(beside)
        write_bytes(beside, self.weights)
        write_bytes(path, self.xml)


def convert(model: onnx.ModelProto, description: Mapping[str, str]) -> OpenVinoFiles:
    """An ONNX model as OpenVINO's files, in its own number type.

    Raises:
        UserError: if openvino is not installed or does not take the model.
    """
    openvino = load_openvino()
    try:
        network = openvino_core().read_model(model.SerializeToString())
    except RuntimeError as error:
        raise UserError(f"openvino does not take the network: {error}") from None
    network.set_rt_info(json.dumps(dict(description), ensure_ascii=False), [INFO_KEY])
    with tempfile.TemporaryDirectory(prefix="fofa-openvino-") as folder:
        path = Path(folder) / "network.xml"
        openvino.save_model(network, path, compress_to_fp16=False)
        return OpenVinoFiles(path.read_bytes(), path.with_suffix(".bin").read_bytes())
