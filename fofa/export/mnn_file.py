"""MNN's own file: `NET.mnn`, which telephones and boards run.

The network is run from such a file before any is written; what is written then differs from it in
the description, which says the accuracy too, and in MNN's own number of the file. The description
is JSON of ASCII characters, where MNN keeps what it calls `bizCode`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.files import check_replaceable, write_bytes
from fofa.runtime.graph import graph_inputs
from fofa.runtime.mnn import MnnRuntime, convert
from fofa.runtime.session import Logits, in_batches


@dataclass(frozen=True, slots=True)
class MnnFile:
    """The content of the file, and the model that it was made of."""

    content: bytes
    model: onnx.ModelProto

    @classmethod
    def of(cls, model: onnx.ModelProto, description: Mapping[str, str]) -> MnnFile:
        """An ONNX model of fp32 as an MNN file.

        Raises:
            UserError: if MNN is not installed or does not take the model.
        """
        return cls(convert(model, json.dumps(dict(description))), model)

    def logits(self) -> Logits:
        """MNN on the CPU, with as many threads as torch.

        Where the batch size is fixed, images are run in batches of it, the last one filled up.
        """
        network = MnnRuntime(torch.get_num_threads()).open_converted(self.content, self.model)
        [taken] = graph_inputs(self.model)
        batch_size = taken.type.tensor_type.shape.dim[0].dim_value or None

        def run(images: Tensor) -> np.ndarray:
            return in_batches(images.numpy(), batch_size, network)

        return run

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            UserError: if it cannot be written.
        """
        check_replaceable(path)
        write_bytes(path, self.content)
