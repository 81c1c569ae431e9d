"""The nodes and weights of an ONNX graph that is being built, in any number type.

Layers and activations as `fofa.runtime.graph` puts blocks together of them. In int8, values are
rounded to 8 bits at named points, and layers take 8-bit weights (`fofa.runtime.int8`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fofa.errors import UserError
from fofa.runtime.int8 import (
    GATE,
    STAND_INS,
    ActivationRange,
    Int8Scheme,
    PointRanges,
)
from fofa.runtime.int8_weights import quantise_weight
from fofa.space import BlockSpec
from fofa.space.family import Activation

NUMPY_TYPES: dict[str, type[np.floating[Any]]] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "int8": np.float32,
}
"""Of images and logits."""
WeightSource = Callable[[str, tuple[int, ...], float], np.ndarray]
"""Name, shape and standard deviation (of a random weight) to values, fp32."""


@dataclass(slots=True)
class Graph:
    """Nodes and weights of a graph being built.

    Attributes:
        scheme: of an int8 graph, else None.
        ranges: of its points; None for stand-ins.
        block, spec: index and description of the block that is being added; the index is the first
            part of its weights' names.
        taken: names of the weights that `source` was asked for.
        quantised: the range of each value that stands for an 8-bit one.
    """

    dtype: str
    source: WeightSource
    scheme: Int8Scheme | None = None
    ranges: PointRanges | None = None
    block: int = 0
    spec: BlockSpec | None = None
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    quantised: dict[str, ActivationRange] = field(default_factory=dict)

    def op(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def begin(self, block: int, spec: BlockSpec) -> None:
        """What is added from now on is of this block."""
        self.block, self.spec = block, spec

    def in_float(self, layer: str) -> bool:
        """Whether a layer of this block is computed in floating point."""
        return self.scheme is None or (
            self.spec is not None and self.scheme.in_float(self.spec, layer)
        )

    def start(self, name: str, first: BlockSpec) -> str:
        """The value that the first block takes, of the input called `name`."""
        if self.scheme is None or first.key.position == "stem":
            return name
        return self.dequantised(name, "input", STAND_INS["input"])

    def end(self, name: str, last: BlockSpec) -> None:
        """Call the last value `name`; a part of an int8 network gives it in 8 bits."""
        if self.scheme is not None and last.key.position != "head":
            self.nodes.pop()
        self.nodes[-1].output[0] = name

    def point(self, value: str, point: str, after: str) -> str:
        """In an int8 graph, `value` rounded to 8 bits; `after` chooses the stand-in's range."""
        if self.scheme is None or self.spec is None or not self.scheme.rounds(self.spec, point):
            return value
        found, name = STAND_INS[after], f"{self.block}.{point}"
        if point.endswith(".gate"):
            found = GATE
        elif self.ranges is not None:
            if name not in self.ranges:
                raise ValueError(f"the range of {name} is not given")
            found = self.ranges[name]
        return self.rounded(value, point, found)

    def rounded(self, value: str, point: str, found: ActivationRange) -> str:
        """`value` in 8 bits and back."""
        steps = self.op("QuantizeLinear", [value, *self.steps_of(point, found)])
        return self.dequantised(steps, point, found)

    def dequantised(self, value: str, point: str, found: ActivationRange) -> str:
        """What an 8-bit value stands for."""
        name = self.op("DequantizeLinear", [value, *self.steps_of(point, found)])
        self.quantised[name] = found
        return name

    def steps_of(self, point: str, found: ActivationRange) -> list[str]:
        """Names of the scale and the zero point of an activation."""
        names = [f"{self.block}.{point}.scale", f"{self.block}.{point}.zero"]
        if all(weight.name != names[0] for weight in self.weights):
            self.store(names[0], found.scale)
            self.store(names[1], np.uint8(found.zero_point))
        return names

    def store(self, name: str, values: np.ndarray | np.generic) -> str:
        """Keep values in the file under `name`."""
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def values(self, part: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
        """A weight, by default random of standard deviation `scale`."""
        name = f"{self.block}.{part}"
        self.taken.add(name)
        return self.source(name, shape, scale)

    def weight(self, part: str, shape: tuple[int, ...], scale: float) -> str:
        """Keep a weight in floating point, and return its name."""
        name, values = f"{self.block}.{part}", self.values(part, shape, scale)
        kind = NUMPY_TYPES[self.dtype]
        if kind is np.float16 and np.abs(values).max(initial=0.0) > np.finfo(kind).max:
            raise UserError(f"the weight {name} is too large for fp16; use fp32")
        return self.store(name, values.astype(kind, copy=False))

    def layer(
        self,
        value: str,
        layer: str,
        shape: tuple[int, ...],
        scale: float,
        *,
        bias: bool,
    ) -> list[str]:
        """The inputs of a convolution or linear layer: a value, the weight, and the bias if any."""
        if self.scheme is None or self.in_float(layer):
            names = [value, self.weight(f"{layer}.weight", shape, scale)]
            return [*names, self.weight(f"{layer}.bias", shape[:1], 0.1)] if bias else names
        weight = self.values(f"{layer}.weight", shape, scale)
        offsets = self.values(f"{layer}.bias", shape[:1], 0.1) if bias else None
        step = self.quantised[value].scale
        scheme = self.scheme
        found = quantise_weight(weight, offsets, step, scheme.weights, scheme.weight_bits)
        axis = {"axis": 0} if found.scale.ndim else {}
        kept = {
            part: self.store(f"{self.block}.{layer}.{part}", values)
            for part, values in found.parts(step).items()
        }
        parts = [kept["weight"], kept["weight.scale"], kept["weight.zero"]]
        names = [value, self.op("DequantizeLinear", parts, **axis)]
        if bias:
            parts = [kept["bias"], kept["bias.scale"]]
            names.append(self.op("DequantizeLinear", parts, **axis))
        return names

    def conv(
        self,
        value: str,
        layer: str,
        channels: tuple[int, int],
        kernel: int = 1,
        stride: int = 1,
        *,
        pads: tuple[int, int] = (0, 0),
        depthwise: bool = False,
        bias: bool = True,
        gain: float = 2.0,
    ) -> str:
        """A convolution; `gain` 2 makes up for the half that an activation cuts off.

        `pads` are the zeros before and after the map, in either direction.
        """
        into, out = channels
        fan_in = kernel**2 * (1 if depthwise else into)
        shape = (out, 1 if depthwise else into, kernel, kernel)
        return self.op(
            "Conv",
            self.layer(value, layer, shape, (gain / fan_in) ** 0.5, bias=bias),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pads[0], pads[0], pads[1], pads[1]],
            group=into if depthwise else 1,
        )

    def activated(self, value: str, layer: str, kind: Activation) -> str:
        """The activation after `layer`, between the layer's points."""
        if kind == "h_swish":
            value = self.point(value, layer, "linear")
        return self.point(self.activation(value, kind), f"{layer}.act", kind)

    def activation(self, value: str, kind: Activation) -> str:
        """ReLU, ReLU6 (a `Clip` to 0..6) or h-swish."""
        match kind:
            case "relu":
                return self.op("Relu", [value])
            case "relu6":
                return self.op("Clip", [value, self.constant(0.0), self.constant(6.0)])
            case "h_swish":
                return self.op("HardSwish", [value])

    def constant(self, number: float) -> str:
        """A scalar that is part of an operator, not a weight; one node for each number."""
        name = f"constant_{number:g}"
        if all(node.name != name for node in self.nodes):
            scalar = numpy_helper.from_array(np.array(number, NUMPY_TYPES[self.dtype]), name)
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=scalar))
        return name
