"""A network as operators on named values, without weights' contents and without any framework.

What an estimate needs to know of a network: which operator reads what, how large every value is,
how much is multiplied. `OperatorGraph` is built by hand for networks that are described in words
(`profilers.estimates.networks`), from blocks, and from ONNX files.

Sizes are of one image. Weights are counted apart, because a batch reads them once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["dense", "depthwise", "pointwise", "pass", "view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator.

    Attributes:
        kind: `dense` is a convolution or matrix product (grouped ones too), `depthwise` a
            convolution of single channels, `pointwise` makes each output value from the input
            values at the same place, `pass` is any other one that moves values (pooling, norms
            over a row, concatenation), `view` moves nothing.
        inputs, output: names of the values it reads (weights are not among them) and makes.
        macs: multiply-adds.
        weights: values of its parameters.
        depth: length of the sums of a dense operator (input channels of a group times window).
        winograd: whether it is a 3x3 convolution of stride 1, for which libraries know a way with
            fewer multiplications.
        biased: a dense or depthwise operator with a bias or a norm folded into it.
        softmax: a norm over a row between two products, as attention has it.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    output: str
    macs: int = 0
    weights: int = 0
    depth: int = 1
    winograd: bool = False
    biased: bool = False
    softmax: bool = False


@dataclass(slots=True)
class OperatorGraph:
    """Operators in the order of computation.

    Attributes:
        sizes: values of every input and output, for one image.
        results: names of what the network gives; they have to be written.
    """

    operators: list[Operator] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    results: set[str] = field(default_factory=set)

    @property
    def macs(self) -> int:
        """Multiply-adds of one image."""
        return sum(operator.macs for operator in self.operators)

    @property
    def weights(self) -> int:
        """Parameters that the operators read, biases and norms left out."""
        return sum(operator.weights for operator in self.operators)


@dataclass(slots=True)
class Layers:
    """Writes a network down layer by layer, as one reads it in a paper.

    `norm` stands for a folded BatchNorm. `value` is the feature map that the next layer takes:
    `channels` of `size` times `size`.
    """

    channels: int
    size: int
    graph: OperatorGraph = field(default_factory=OperatorGraph)
    value: str = "images"

    def __post_init__(self) -> None:
        self.graph.sizes[self.value] = self.channels * self.size**2

    def add(self, kind: Kind, inputs: tuple[str, ...], size: int, **counts: int | bool) -> str:
        """Append an operator whose output has `size` values; returns the output's name."""
        name = f"{kind}_{len(self.graph.operators)}"
        self.graph.operators.append(
            Operator(name=name, kind=kind, inputs=inputs, output=name, **counts)  # type: ignore[arg-type]
        )
        self.graph.sizes[name] = size
        return name

    def conv(
        self,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: bool = True,
        norm: bool = True,
    ) -> None:
        """A convolution with 'same' padding, its norm (or bias) and activation."""
        self.size = -(-self.size // stride)
        per_group = self.channels // groups
        weights = per_group * channels * kernel**2
        self.value = self.add(
            "depthwise" if groups == self.channels and groups > 1 else "dense",
            (self.value,),
            channels * self.size**2,
            macs=weights * self.size**2,
            weights=weights,
            depth=per_group * kernel**2,
            winograd=kernel == 3 and stride == 1 and groups == 1,
            biased=norm,
        )
        self.channels = channels
        if act:
            self.pointwise()

    def linear(self, channels: int, *, act: bool = False) -> None:
        """A linear layer on every position (after `pool`, on one)."""
        weights = self.channels * channels
        self.value = self.add(
            "dense",
            (self.value,),
            channels * self.size**2,
            macs=weights * self.size**2,
            weights=weights,
            depth=self.channels,
        )
        self.channels = channels
        if act:
            self.pointwise()

    def pointwise(self, *others: str) -> None:
        """An activation, or a sum or product with `others`."""
        self.value = self.add("pointwise", (self.value, *others), self.graph.sizes[self.value])

    def normalise(self) -> None:
        """A norm that is not folded: over channels (LayerNorm), or before a convolution."""
        self.value = self.add("pass", (self.value,), self.graph.sizes[self.value])

    def pool(self, kernel: int | None = None, stride: int = 1) -> None:
        """Pooling with 'same' padding; over everything where `kernel` is None."""
        self.size = 1 if kernel is None else -(-self.size // stride)
        self.value = self.add("pass", (self.value,), self.channels * self.size**2)

    def concat(self, *others: tuple[str, int]) -> None:
        """Concatenation with other values, given with their channels."""
        self.channels += sum(channels for _, channels in others)
        inputs = (self.value, *(name for name, _ in others))
        self.value = self.add("pass", inputs, self.channels * self.size**2)

    def squeeze_excite(self, squeezed: int) -> None:
        """Scales the channels by what two small layers make of their means."""
        whole, size, channels = self.value, self.size, self.channels
        self.pool()
        self.conv(squeezed)
        self.conv(channels)
        scale = self.value
        self.size, self.channels = size, channels
        self.value = self.add("pointwise", (whole, scale), channels * size**2)

    def finish(self) -> OperatorGraph:
        """The graph, ending in the current value."""
        self.graph.results.add(self.value)
        return self.graph
