"""Operators as the kernels that a runtime launches.

Two classes of runtime. `eager` (PyTorch without a compiler) launches each operator by itself: a
convolution's bias or norm is a kernel of its own, and so is every activation; each reads its inputs
from memory and writes its output there. `fused` (TensorRT, torch.compile, onnxruntime) computes
what follows pointwise in the kernel that made the value. Attention is one kernel in both, as
PyTorch's `scaled_dot_product_attention` and TensorRT have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from profilers.estimates.operators import Operator, OperatorGraph

RuntimeClass = Literal["eager", "fused"]
RUNTIME_CLASSES: tuple[RuntimeClass, ...] = get_args(RuntimeClass)
Unit = Literal["dense", "depthwise", "pass"]
WINOGRAD = 2.25
"""Multiplications that F(2x2, 3x3) saves (Lavin and Gray, 2016)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One launch, for one image.

    Attributes:
        unit: what bounds its computing.
        macs: multiply-adds.
        winograd_macs: what is left of them where a fast algorithm for 3x3 windows applies.
        moved: values read and written.
        weights: values read once per batch.
        depth: length of its sums, which one tile has to go through in sequence.
    """

    unit: Unit
    macs: int = 0
    winograd_macs: int = 0
    moved: int = 0
    weights: int = 0
    depth: int = 0


@dataclass(slots=True, eq=False)
class _Group:
    """Operators that one kernel computes."""

    members: list[Operator] = field(default_factory=list)
    attention: bool = False

    @property
    def last(self) -> Operator:
        return self.members[-1]


class _Grouping:
    """Which operators one kernel computes together.

    A view is another name for what it shows: `root` finds the value that a kernel made.
    """

    def __init__(self, graph: OperatorGraph, runtime: RuntimeClass) -> None:
        self.graph = graph
        self.runtime = runtime
        self.roots: dict[str, str] = {}
        for view in graph.operators:
            if view.kind == "view" and view.inputs:
                self.roots[view.output] = self.root(view.inputs[0])
        work = [operator for operator in graph.operators if operator.kind != "view"]
        self.readers = Counter(root for operator in work for root in self.sources(operator))
        self.results = {self.root(name) for name in graph.results}
        self.groups: list[_Group] = []
        self.made: dict[str, tuple[int, _Group]] = {}
        for order, operator in enumerate(work):
            group = self._joined(operator)
            if group is None:
                group = _Group()
                self.groups.append(group)
            group.members.append(operator)
            self.made[operator.output] = (order, group)

    def root(self, name: str) -> str:
        return self.roots.get(name, name)

    def sources(self, operator: Operator) -> set[str]:
        """The values that it reads, views looked through."""
        return {self.root(name) for name in operator.inputs}

    def read(self, group: _Group) -> set[str]:
        """Values (or views of them) that a kernel takes from elsewhere."""
        names = {name for member in group.members for name in member.inputs}
        own = {member.output for member in group.members}
        return {name for name in names if self.root(name) not in own}

    def written(self, group: _Group) -> list[str]:
        """Values of a kernel that others read, or that are results."""
        inside = Counter(root for member in group.members for root in self.sources(member))
        return [
            member.output
            for member in group.members
            if self.readers[member.output] > inside[member.output]
            or member.output in self.results
            or not self.readers[member.output]
        ]

    def _joined(self, operator: Operator) -> _Group | None:
        """The kernel that computes `operator` along with what came before; None: its own."""
        known = [root for root in self.sources(operator) if root in self.made]
        if not known:
            return None
        latest = max(known, key=lambda root: self.made[root][0])
        group = self.made[latest][1]
        scores = group.members[0].kind == "dense" and not group.members[0].weights
        if operator.softmax:
            group.attention = scores
            return group if scores else None
        if operator.kind == "dense":
            mixes = group.attention and group.last.kind != "dense" and not operator.weights
            return group if mixes else None
        sizes = self.graph.sizes
        if operator.kind != "pointwise" or sizes[operator.output] != sizes[latest]:
            return None
        within_attention = scores and not (group.attention and group.last.kind == "dense")
        if self.runtime == "fused" or within_attention:
            return group
        # An activation written as several operators of one value is one kernel all the same.
        if any(member.kind != "pointwise" for member in group.members):
            return None
        own = {member.output for member in group.members}
        names = {self.root(name) for name in self.read(group)} | (self.sources(operator) - own)
        return group if len(names) == 1 and self.readers[latest] == 1 else None


def lower(graph: OperatorGraph, runtime: RuntimeClass) -> list[Kernel]:
    """The kernels of `graph` in order."""
    grouping = _Grouping(graph, runtime)
    kernels: list[Kernel] = []
    for group in grouping.groups:
        moved = [*grouping.read(group), *grouping.written(group)]
        kernels.append(_kernel(group.members, sum(graph.sizes[name] for name in moved)))
        if runtime == "eager" and group.members[0].biased:
            kernels.append(Kernel(unit="pass", moved=2 * graph.sizes[group.members[0].output]))
    return kernels


def _kernel(members: Sequence[Operator], moved: int) -> Kernel:
    first = members[0]
    macs = sum(member.macs for member in members)
    return Kernel(
        unit=first.kind if first.kind in ("dense", "depthwise") else "pass",
        macs=macs,
        winograd_macs=round(macs / WINOGRAD) if first.winograd else macs,
        moved=moved,
        weights=sum(member.weights for member in members),
        depth=max((member.depth for member in members if member.macs), default=0),
    )
