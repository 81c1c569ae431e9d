"""BatchNorm statistics of subnets: gathered over a prefix tree, used, put into networks, kept.

Recalibration as in OFA: while every layer normalises with its own batch's statistics, the mean over
batches of each batch's mean and biased variance is taken, batches weighted by their images. What a
layer sees depends only on what comes before it, so one set of statistics per tree node is exact.

Statistics belong to a node and a layer's key (`stages.2.0.expand_bn`), which is the same in the
supernet and in every network that is extracted from it. `Layout` gives each a place in one vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fofa.errors import UserError
from fofa.runs import Run
from fofa.space import Architecture, NetworkConfig, Subnet
from fofa.supernet.elastic import Normalise, shared_norm
from fofa.supernet.model import Supernet
from fofa.supernet.network import ANY_RESOLUTION, PlainNetwork
from fofa.supernet.prefix_tree import Node, PrefixTree, Step, path, prefix_tree, walk
from fofa.tensor_files import read_tensors, write_tensors

SUFFIXES = (".running_mean", ".running_var")


def norm_channels(step: Step, config: NetworkConfig) -> dict[str, int]:
    """Channels of each batch normalisation of a step, by the layer's key."""
    spec = step.spec(ANY_RESOLUTION, config)
    match step.position:
        case "stem":
            return {f"{step.key}.bn": spec.mid_channels}
        case "head":
            return {f"{step.key}.expand_bn": spec.mid_channels}
    expansion = {f"{step.key}.expand_bn": spec.mid_channels} if spec.expands else {}
    return expansion | {
        f"{step.key}.depthwise_bn": spec.mid_channels,
        f"{step.key}.project_bn": spec.out_channels,
    }


@dataclass(frozen=True, slots=True)
class Layout:
    """Where statistics stand in one long vector.

    Attributes:
        places: for each node, by its number, the part of each of its layers, by the layer's key.
        keys: the keys of the supernet's layers.
        size: of the vector.
    """

    tree: PrefixTree
    places: tuple[dict[str, slice], ...]
    keys: Mapping[nn.BatchNorm2d, str]
    size: int

    @classmethod
    def of(cls, supernet: Supernet, subnets: Sequence[Subnet]) -> Layout:
        """Files of interrupted evaluations hold such vectors: their order has to stay."""
        tree, places, start = prefix_tree(subnets), [], 0
        for node in tree.nodes():
            own = {}
            for key, channels in norm_channels(node.step, supernet.network_config).items():
                own[key] = slice(start, start + channels)
                start += channels
            places.append(own)
        keys = {layer: key for key, layer in _norms(supernet).items()}
        return cls(tree, tuple(places), keys, start)

    def place(self, node: Node, layer: nn.BatchNorm2d) -> slice:
        """The part of a layer of the supernet, run in `node`."""
        return self.places[node.number][self.keys[layer]]

    def places_of(self, leaf: int) -> dict[str, slice]:
        """The parts of all layers of subnet number `leaf`, by their keys."""
        first, *steps = path(self.tree.subnets[leaf])
        node = self.tree.root
        assert node.step == first
        found = dict(self.places[node.number])
        for step in steps:
            node = next(child for child in node.children if child.step == step)
            found |= self.places[node.number]
        return found


@dataclass(slots=True)
class Moments:
    """Sums over calibration images, in float64, of batch means and biased batch variances.

    `mean` and `variance` are [layout.size]; `images` counts what they are sums over.
    """

    layout: Layout
    mean: Tensor
    variance: Tensor
    images: int = 0

    @classmethod
    def zeros(cls, supernet: Supernet, subnets: Sequence[Subnet]) -> Moments:
        """Nothing observed yet of the subnets' prefix tree, on the supernet's device."""
        layout, device = Layout.of(supernet, subnets), supernet.head.classifier.weight.device
        mean, variance = torch.zeros(2, layout.size, dtype=torch.float64, device=device).unbind()
        return cls(layout, mean, variance)

    def observer(self, node: Node, images: int, *, by_running: bool = False) -> Normalise:
        """Normalise with the statistics of a batch of `images` and add them to the node's sums.

        Or add them, and normalise with the layer's running statistics.
        """

        def observe(layer: nn.BatchNorm2d, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            at = self.layout.place(node, layer)
            mean, variance = batch_moments(x.to(weight.dtype))
            self.mean[at] += images * mean
            self.variance[at] += images * variance
            if by_running:
                return shared_norm(layer, x, weight, bias)
            return F.batch_norm(x, mean, variance, weight, bias, eps=layer.eps)

        return observe

    def statistics(self, dtype: torch.dtype) -> Statistics:
        """The means over everything observed.

        Raises:
            UserError: if they are not finite, because the weights are not usable.
        """
        mean, variance = self.mean / self.images, self.variance / self.images
        if not (mean.isfinite().all() and variance.isfinite().all()):
            raise UserError(
                "recalibration gave statistics that are not finite: the weights hold NaN or "
                "overflow, as after training that diverged"
            )
        return Statistics(self.layout, mean.to(dtype), variance.to(dtype))


@dataclass(frozen=True, slots=True)
class Statistics:
    """Recalibrated mean and variance of every node, [layout.size] each."""

    layout: Layout
    mean: Tensor
    variance: Tensor

    def normaliser(self, node: Node) -> Normalise:
        """Normalise with the node's statistics."""

        def apply(layer: nn.BatchNorm2d, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            at = self.layout.place(node, layer)
            return F.batch_norm(x, self.mean[at], self.variance[at], weight, bias, eps=layer.eps)

        return apply

    @torch.inference_mode()
    def logits(
        self, supernet: Supernet, images: Tensor, *, bf16: bool = False
    ) -> Iterator[tuple[int, Tensor]]:
        """The number of each subnet with its logits [N, classes] for [N, 3, R, R] images."""

        def run(node: Node, x: Tensor) -> Tensor:
            normalise = self.normaliser(node)
            return supernet.run_step(node.step, x, normalise, weights[node.number])

        x = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            weights = supernet.tree_weights(self.layout.tree)
            for leaf, features in walk(self.layout.tree.root, x, run):
                yield leaf, supernet.head.classify(features)

    @torch.no_grad()
    def write_to(self, network: PlainNetwork, leaf: int) -> None:
        """Set the running statistics of the network of subnet number `leaf`.

        Raises:
            ValueError: if its layers are not those of the subnet.
        """
        layers, places = _norms(network), self.layout.places_of(leaf)
        channels = {key: at.stop - at.start for key, at in places.items()}
        if {key: layer.num_features for key, layer in layers.items()} != channels:
            raise ValueError(f"not the network of {self.layout.tree.subnets[leaf]}")
        for key, layer in layers.items():
            at = places[key]
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.copy_(self.mean[at])
            layer.running_var.copy_(self.variance[at])


@torch.inference_mode()
def observe_batch(
    supernet: Supernet,
    moments: Moments,
    images: Tensor,
    *,
    bf16: bool = False,
    by_running: bool = False,
) -> None:
    """Add the batch statistics of [N, 3, R, R] images, in every node, to `moments`.

    Args:
        by_running: layers normalise with their running statistics meanwhile, not the batch's; the
            supernet is in evaluation mode.
    """

    def run(node: Node, x: Tensor) -> Tensor:
        observe = moments.observer(node, len(images), by_running=by_running)
        return supernet.run_step(node.step, x, observe, weights[node.number])

    x = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        weights = supernet.tree_weights(moments.layout.tree)
        for _ in walk(moments.layout.tree.root, x, run):
            pass
    moments.images += len(images)


def calibrate(
    supernet: Supernet, architecture: Architecture, batches: Iterable[tuple[Tensor, Tensor]]
) -> PlainNetwork:
    """Extract an architecture with BatchNorm statistics of `batches`, in evaluation mode.

    Args:
        batches: training images [N, 3, R, R] at the architecture's resolution, with labels (not
            used), on the supernet's device. The result depends on how they are batched.

    Raises:
        UserError: if there are no images, they have another size, or the statistics overflow.
    """
    moments = Moments.zeros(supernet, [architecture.subnet])
    for images, _ in batches:
        if images.shape[-1] != architecture.resolution:
            raise UserError(
                f"{architecture} cannot be calibrated with images of {images.shape[-1]} px"
            )
        observe_batch(supernet, moments, images)
    if not moments.images:
        raise UserError(f"{architecture} cannot be calibrated without images")
    network = supernet.extract(architecture.subnet).eval()
    moments.statistics(supernet.head.classifier.weight.dtype).write_to(network, 0)
    return network


def statistics_path(run: Run, architecture: Architecture) -> Path:
    """Where the statistics of an architecture are kept; the longest name has 83 characters."""
    return run.folder / "statistics" / f"{architecture.name}.safetensors"


def keep_statistics(run: Run, architecture: Architecture, network: PlainNetwork) -> Path:
    """Write the statistics of a calibrated network of this run; return the file.

    It holds the running means and variances by the network's keys, and the checksum of the weights
    that they belong to.
    """
    file = statistics_path(run, architecture)
    state = {key: value for key, value in network.state_dict().items() if key.endswith(SUFFIXES)}
    write_tensors(file, state, _belonging(run, architecture))
    return file


def load_calibrated(run: Run, architecture: Architecture) -> PlainNetwork | None:
    """The plain network with its kept statistics, in evaluation mode on the CPU.

    None where none were kept, or where they belong to weights that have changed since.

    Raises:
        UserError: if the file of the statistics is damaged.
    """
    file = statistics_path(run, architecture)
    if not file.is_file():
        return None
    state, metadata = read_tensors(file)
    if metadata != _belonging(run, architecture):
        return None
    network = run.load_supernet().extract(architecture.subnet).eval()
    own = network.state_dict()
    wanted = {key for key in own if key.endswith(SUFFIXES)}
    if state.keys() != wanted or any(own[key].shape != state[key].shape for key in wanted):
        raise UserError(f"{file}: not the statistics of {architecture}; remove the file")
    with torch.no_grad():
        for key, tensor in state.items():
            own[key].copy_(tensor)
    return network


def _belonging(run: Run, architecture: Architecture) -> dict[str, str]:
    """What a file of statistics says about where it belongs."""
    return {"architecture": architecture.name, "weights_sha256": run.weights_checksum()}


def _norms(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Its batch normalisations by their keys."""
    return {k: layer for k, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of each channel of [N, C, H, W].

    On a CPU, batch normalisation of channels-last memory adds up one value after the other, which
    costs four digits over 100 images of 64 px; these sums are pairwise, and lose none.
    """
    if x.device.type == "cpu":
        rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        mean = rows.sum(0) / len(rows)
        return mean, (rows - mean).square_().sum(0) / len(rows)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, variance
