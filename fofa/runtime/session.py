"""An ONNX graph run by ONNX Runtime on the CPU, as a function on images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.runtime.graph import INPUT_NAME, OUTPUT_NAME

INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

OVERFLOW = (
    "ONNX Runtime adds 8-bit products in 16 bits on this processor, which clips large sums: int8 "
    "files lose accuracy here that they keep with VNNI or on ARM; --weight-bits 7 avoids it"
)

Logits = Callable[[Tensor], np.ndarray]
"""Images [N, 3, R, R] to logits (N, classes), fp32."""


def session_logits(model: onnx.ModelProto | Path, *, literally: bool = False) -> Logits:
    """onnxruntime on the CPU, with as many threads as torch, as a function on images.

    Images are given in the model's own type and, where its batch size is fixed, in batches of it.

    Args:
        literally: run the operators as they stand in the graph, none fused into others; an int8
            network is then computed in floating point between its steps, on any CPU alike.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    if literally:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    [taken] = session.get_inputs()
    dtype, batch_size = INPUT_TYPES[taken.type], taken.shape[0]

    def logits(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run([OUTPUT_NAME], {INPUT_NAME: images})[0]
        return found.astype(np.float32, copy=False)

    def run(images: Tensor) -> np.ndarray:
        values = images.numpy().astype(dtype, copy=False)
        return in_batches(values, batch_size if isinstance(batch_size, int) else None, logits)

    return run


@functools.cache
def products_overflow() -> bool:
    """Whether ONNX Runtime's 8-bit products overflow on this processor, tried on two of them.

    On x86 without VNNI (AVX2 alone), two products of an activation and a weight are added in 16
    bits, which clips the largest sums; ONNX Runtime's guide to quantisation says so.
    """
    import onnxruntime
    from onnx import TensorProto, helper

    product = helper.make_node("MatMulInteger", ["values", "weights"], ["sums"])
    taken = helper.make_tensor_value_info("values", TensorProto.UINT8, [1, 4])
    given = helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 16])
    weights = helper.make_tensor("weights", TensorProto.INT8, [4, 16], [127] * 64)
    graph = helper.make_graph([product], "products", [taken], [given], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    sums: np.ndarray = session.run(None, {"values": np.full((1, 4), 255, np.uint8)})[0]
    return bool((sums != 4 * 255 * 127).any())


def in_batches(
    values: np.ndarray, size: int | None, run: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """What `run` makes of images (N, 3, R, R), given in batches of `size`, the last one filled up;
    None: all at once."""
    size = size or len(values)
    filled = np.pad(values, [(0, -len(values) % size), (0, 0), (0, 0), (0, 0)])
    found = [run(filled[first : first + size]) for first in range(0, len(filled), size)]
    return np.concatenate(found)[: len(values)]
