"""What a deployed network takes: bytes of its file, and of its activations at the worst moment.

Both are computed, of each block by itself: files add up, and the worst moment is that of one block.

Activations are counted operator by operator, in the graph's order (`fofa.runtime.graph`): what an
operator reads and writes, and what is still to be read, the input of a residual block. Operators
that go value by value (activations, the product of squeeze-excite, the sum of a residual block)
overwrite what nobody reads again, which runtimes do or fuse; nothing else is shared. Weights and
what a runtime needs for itself come on top. In int8 a value takes a byte.
"""

from __future__ import annotations

import numpy as np

from fofa.runtime.int8 import Int8Scheme
from fofa.space import BlockSpec

VALUE_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


def peak_values(block: BlockSpec) -> int:
    """Values of one image's activations that are held at once, at most, while a block is run."""
    inside, outside = block.in_size**2, block.out_size**2
    taken, given = block.in_channels * inside, block.out_channels * outside
    mid = block.mid_channels
    match block.key.position:
        case "stem":
            return taken + given
        case "head":
            wide, features = mid * inside, block.out_channels
            moments = [taken + wide, wide + mid, features + block.num_classes]
            return max(*moments, mid + features if block.feature_mix else 0)
    kept = taken if block.residual else 0  # until it is added
    before, after = (mid * inside if block.expands else taken), mid * outside
    moments = [before + after + (kept if block.expands else 0), kept + after + given]
    if block.expands:
        moments.append(taken + before)
    if squeezed := block.squeeze_channels:
        moments += [kept + after + mid, kept + after + mid + squeezed]
    return max(moments)


def peak_bytes(block: BlockSpec, dtype: str) -> int:
    """The same in bytes."""
    return VALUE_BYTES[dtype] * peak_values(block)


def file_bytes(block: BlockSpec, dtype: str, scheme: Int8Scheme | None = None) -> int:
    """About how many bytes of an ONNX file a block takes: its weights, and its part of the graph.

    Within 1% of a whole network's file, without the file's description of itself.
    """
    from fofa.runtime.graph import build_model

    def nothing(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
        return np.zeros(shape, np.float32)

    graph = build_model([block], None, dtype, weights=nothing, scheme=scheme).graph
    if block.key.position != "stem":
        del graph.input[:]
    if block.key.position != "head":
        del graph.output[:]
    return int(graph.ByteSize())
