"""Any ONNX network as operators: shapes are inferred, weights are counted, nothing is run.

What is counted is one image. A free batch dimension is taken as 1; a fixed one is divided by, so a
file made for another batch size serves as well. An operator that is not known moves its inputs and
output through memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from fofa.errors import UserError
from profilers.estimates.onnx_shapes import Shape, infer_shapes
from profilers.estimates.operators import Operator, OperatorGraph

# fmt: off
POINTWISE = frozenset((
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "DequantizeLinear",
    "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
    "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Where",
    "Xor",
))
VIEWS = frozenset((
    "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
))
# fmt: on
SHAPES_ONLY = frozenset({"Shape", "Size"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
INTEGER_PRODUCTS = {"ConvInteger": 1, "MatMulInteger": 1, "QLinearConv": 3, "QLinearMatMul": 3}
"""Products of quantised values, and where their second factor stands."""


def read_network(path: Path, resolution: int | None = None) -> OperatorGraph:
    """The operators of the network in an ONNX file.

    Args:
        resolution: height and width of the images, where the file leaves them free.

    Raises:
        UserError: if the file cannot be read, or sizes are free or cannot be inferred.
    """
    try:
        try:
            model = onnx.load(path)
        except FileNotFoundError:
            if not path.exists():
                raise
            model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf and the operating system each raise their own
        raise UserError(f"{path}: no readable ONNX file: {error}") from None
    return network_operators(model, str(path), resolution)


def network_operators(
    model: onnx.ModelProto, name: str, resolution: int | None = None
) -> OperatorGraph:
    """The operators of a model in memory, which is changed; `name` is for messages.

    Raises:
        UserError: if sizes are free or cannot be inferred.
    """
    batch = _fix_inputs(model, name, resolution)
    inputs = [value.name for value in _fed(model)]
    try:
        shapes = infer_shapes(model)
    except Exception as error:  # onnx raises several kinds, all of them about the file
        raise UserError(f"{name}: shapes cannot be inferred: {error}") from None
    return _Reader.of(model, name, batch, inputs, shapes).graph()


def _fed(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are fed; old files list their weights among them."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _fix_inputs(model: onnx.ModelProto, name: str, resolution: int | None) -> int:
    """Give free sizes of the inputs their values; returns the batch size that the model has."""
    inputs = _fed(model)
    if not inputs:
        raise UserError(f"{name}: a network without inputs")
    batch = 1
    for index, value in enumerate(inputs):
        sizes = value.type.tensor_type.shape.dim
        for axis, size in enumerate(sizes):
            if size.dim_value > 0:
                continue
            image_side = len(sizes) == 4 and axis >= 2
            if axis == 0:
                size.dim_value = 1
            elif image_side and resolution is not None:
                size.dim_value = resolution
            else:
                help_with = "; --option resolution=SIDE sets it" if image_side else ""
                raise UserError(
                    f"{name}: input {value.name!r} has a free size (axis {axis}){help_with}"
                )
        if index == 0 and sizes:
            batch = sizes[0].dim_value
    # What the exporter wrote down holds for the sizes that were free.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return batch


@dataclass(slots=True)
class _Reader:
    """A model with what is known of its values."""

    name: str
    batch: int
    nodes: Sequence[onnx.NodeProto]
    shapes: dict[str, Shape]
    constants: set[str]
    inputs: list[str]
    outputs: set[str]
    made_by: dict[str, onnx.NodeProto] = field(default_factory=dict)
    read_by: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: onnx.ModelProto,
        name: str,
        batch: int,
        inputs: list[str],
        shapes: dict[str, Shape],
    ) -> _Reader:
        graph = model.graph
        constants = {value.name for value in (*graph.initializer, *graph.input)} - set(inputs)
        reader = cls(
            name=name,
            batch=batch,
            nodes=list(graph.node),
            shapes=shapes,
            constants=constants,
            inputs=inputs,
            outputs={value.name for value in graph.output},
        )
        for node in reader.nodes:
            for output in node.output:
                reader.made_by[output] = node
            for one in node.input:
                reader.read_by.setdefault(one, []).append(node)
        return reader

    def graph(self) -> OperatorGraph:
        """The operators of everything that depends on the inputs."""
        graph = OperatorGraph(results=set(self.outputs))
        live = set(self.inputs)
        for name in self.inputs:
            graph.sizes[name] = self.size(name)
        for node in self.nodes:
            sources = tuple(dict.fromkeys(name for name in node.input if name in live))
            if not sources or node.op_type in SHAPES_ONLY:
                # Weights that are computed (unpacked, transposed) are weights.
                if not sources:
                    self.constants.update(node.output)
                continue
            for output in node.output:
                if not output or (output not in self.shapes and output not in self.read_by):
                    continue
                live.add(output)
                graph.sizes[output] = self.size(output)
                graph.operators.append(self.operator(node, sources, output))
        graph.results &= live
        return graph

    def operator(self, node: onnx.NodeProto, sources: tuple[str, ...], output: str) -> Operator:
        """One output of a node as an operator; further outputs cost nothing more."""
        if output != node.output[0] and node.op_type not in VIEWS:
            return Operator(name=output, kind="view", inputs=(node.output[0],), output=output)
        makers: dict[str, Callable[[onnx.NodeProto, tuple[str, ...], str], Operator]] = {
            **dict.fromkeys((*PRODUCTS, *INTEGER_PRODUCTS), self._product),
            **dict.fromkeys(VIEWS, self._view),
            "Attention": self._attention,
            "BatchNormalization": self._norm,
        }
        if node.op_type in makers:
            return makers[node.op_type](node, sources, output)
        if self._is_bias(node, sources) or self._is_free(node, sources, output):
            return Operator(name=output, kind="view", inputs=sources, output=output)
        return Operator(
            name=output,
            kind="pointwise" if node.op_type in POINTWISE else "pass",
            inputs=sources,
            output=output,
            softmax=node.op_type == "Softmax",
        )

    def _product(self, node: onnx.NodeProto, sources: tuple[str, ...], output: str) -> Operator:
        second = node.input[INTEGER_PRODUCTS.get(node.op_type, 1)]
        weights = math.prod(self.shape(second)) if second in self.constants else 0
        made = math.prod(self.shape(output))
        convolution = "Conv" in node.op_type
        groups = 1
        window: Shape = ()
        if convolution:
            groups = _integer(node, "group", 1)
            window = self.shape(second)[2:]
            depth = math.prod(self.shape(second)[1:])
            if node.op_type == "ConvTranspose":
                depth = math.prod(self.shape(second)[:1]) // groups * math.prod(window)
                strides = math.prod(_integers(node, "strides", (1,) * len(window)))
                macs = made * depth // strides
            else:
                macs = made * depth
        else:
            transposed = node.op_type == "Gemm" and _integer(node, "transB", 0)
            shape = self.shape(second)
            depth = shape[-1] if transposed or len(shape) == 1 else shape[-2]
            macs = made * depth
        channels = self.shape(node.input[0])[1] if convolution else 0
        depthwise = convolution and groups > 1 and groups == channels
        return Operator(
            name=output,
            kind="depthwise" if depthwise else "dense",
            inputs=sources,
            output=output,
            macs=self.share(macs),
            weights=weights,
            depth=depth,
            winograd=window == (3, 3)
            and groups == 1
            and set(_integers(node, "strides", (1, 1))) == {1}
            and set(_integers(node, "dilations", (1, 1))) == {1},
            # Linear layers take their bias along in every runtime.
            biased=convolution and (len(node.input) > 2 or self._norm_follows(output)),
        )

    def _attention(self, node: onnx.NodeProto, sources: tuple[str, ...], output: str) -> Operator:
        keys = self.shape(node.input[1])[-2]
        return Operator(
            name=output,
            kind="dense",
            inputs=sources,
            output=output,
            macs=self.share(2 * math.prod(self.shape(node.input[0])) * keys),
            depth=keys,
        )

    def _view(self, node: onnx.NodeProto, sources: tuple[str, ...], output: str) -> Operator:
        """A view, but for a transposition that is then read as one row after the other: a copy."""
        copied = (
            node.op_type == "Transpose"
            and any(one.op_type in ("Reshape", "Flatten") for one in self.read_by.get(output, ()))
            and not self._feeds_attention(output)
        )
        kind = "pass" if copied else "view"
        return Operator(name=output, kind=kind, inputs=sources, output=output)  # type: ignore[arg-type]

    def _norm(self, node: onnx.NodeProto, sources: tuple[str, ...], output: str) -> Operator:
        before = self.made_by.get(node.input[0])
        folded = before is not None and "Conv" in before.op_type
        folded = folded and len(self.read_by[node.input[0]]) == 1
        kind = "view" if folded else "pass"
        return Operator(name=output, kind=kind, inputs=sources, output=output)  # type: ignore[arg-type]

    def _norm_follows(self, output: str) -> bool:
        readers = self.read_by.get(output, ())
        return len(readers) == 1 and readers[0].op_type == "BatchNormalization"

    def _is_bias(self, node: onnx.NodeProto, sources: tuple[str, ...]) -> bool:
        """Whether a sum adds constants to a product of weights, as a linear layer's bias."""
        if node.op_type != "Add" or len(sources) != 1:
            return False
        before = self.made_by.get(sources[0])
        return (
            before is not None
            and before.op_type in ("MatMul", "Gemm")
            and before.input[1] in self.constants
            and len(self.read_by[sources[0]]) == 1
        )

    def _is_free(self, node: onnx.NodeProto, sources: tuple[str, ...], output: str) -> bool:
        """Whether it picks one of several slices, or scales what attention multiplies anyway."""
        if len(sources) != 1:
            return False
        if node.op_type == "Gather":
            return node.input[0] in sources and math.prod(self.shape(node.input[1])) == 1
        return node.op_type in ("Mul", "Div") and self._feeds_attention(output)

    def _feeds_attention(self, name: str, steps: int = 8) -> bool:
        """Whether a value is only looked at and scaled until another value multiplies it."""
        for reader in self.read_by.get(name, ()):
            if reader.op_type in ("MatMul", "Attention"):
                found = not any(one in self.constants for one in reader.input[:2])
            else:
                looked_at = steps > 0 and reader.op_type in (*VIEWS, "Mul", "Div")
                found = looked_at and self._feeds_attention(reader.output[0], steps - 1)
            if found:
                return True
        return False

    def shape(self, name: str) -> Shape:
        """The inferred shape of a value.

        Raises:
            UserError: if there is none.
        """
        if name not in self.shapes:
            raise UserError(
                f"{self.name}: the shape of {name!r} cannot be inferred; export the network with "
                "fixed sizes"
            )
        return self.shapes[name]

    def size(self, name: str) -> int:
        """Values per image."""
        return self.share(math.prod(self.shape(name)))

    def share(self, whole: int) -> int:
        """One image's share of a count for the file's batch."""
        return -(-whole // self.batch)


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)


def _integers(node: onnx.NodeProto, name: str, default: Iterable[int]) -> tuple[int, ...]:
    found = next((one.ints for one in node.attribute if one.name == name), default)
    return tuple(found)
