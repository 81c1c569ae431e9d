"""One architecture as a plain network that is ready for use."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from fofa.errors import UserError
from fofa.evaluate.batchnorm import Layout, Moments
from fofa.evaluate.passes import observe_batch
from fofa.space import Architecture
from fofa.supernet.model import Supernet
from fofa.supernet.network import PlainNetwork
from fofa.supernet.prefix_tree import prefix_tree


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
    tree = prefix_tree([architecture.subnet])
    weight = supernet.head.classifier.weight
    moments = Moments.zeros(Layout.of(tree, supernet.network_config), weight.device)
    for images, _ in batches:
        if images.shape[-1] != architecture.resolution:
            raise UserError(
                f"{architecture} cannot be calibrated with images of {images.shape[-1]} px"
            )
        observe_batch(supernet, moments, images)
    if not moments.images:
        raise UserError(f"{architecture} cannot be calibrated without images")
    network = supernet.extract(architecture.subnet).eval()
    moments.statistics(weight.dtype).write_to(network, 0)
    return network
