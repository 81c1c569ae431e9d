"""The int8 graph of a network: the one that is timed, with the ranges that training images show."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.export.onnx_file import network_model
from fofa.int8.network import find_ranges, simulate
from fofa.runtime.int8 import Quantisation
from fofa.runtime.session import session_logits
from fofa.supernet.network import PlainNetwork

SHARE_OF_ROUNDING = 0.25
FLOAT_TOLERANCE = 1e-4
"""Of a logit, relative to the largest one, where rounding changes next to nothing."""


def int8_model(
    network: PlainNetwork,
    resolution: int,
    batches: Iterable[tuple[Tensor, Tensor]],
    quantisation: Quantisation,
    *,
    check: Tensor,
    batch_size: int | None = None,
) -> tuple[onnx.ModelProto, float]:
    """The model, and the largest difference of a logit from the same network in PyTorch's int8.

    The model is run operator by operator, so that what is checked is the file and not the 8-bit
    arithmetic of this CPU. Between the two a value comes out a step beside now and then, which
    hardly shows but in an image on the edge; a wrong range or weight changes all images, and about
    as much as rounding itself does.

    Args:
        batches: training images that show the ranges.
        check: images [N, 3, R, R] to compare on.

    Raises:
        UserError: if there are no images, or the two differ by more than a quarter of what rounding
            to 8 bits changes (root mean square over an image's logits; the median over images).
    """
    scheme = quantisation.scheme
    ranges = find_ranges(network, resolution, batches, quantisation.num_images, scheme)
    model = network_model(
        network,
        resolution,
        {},
        dtype="int8",
        batch_size=batch_size,
        scheme=scheme,
        ranges=ranges,
    )
    simulated = simulate(network, resolution, scheme, ranges)(check).numpy()
    with torch.inference_mode():
        exact = network(check).numpy()
    difference = session_logits(model, literally=True)(check) - simulated
    bound = SHARE_OF_ROUNDING * _usual(simulated - exact)
    bound += FLOAT_TOLERANCE * max(1.0, float(np.abs(simulated).max()))
    if not _usual(difference) <= bound:
        raise UserError(
            f"the int8 network differs from its simulation: logits by {_usual(difference):.3g}, "
            f"expected at most {bound:.3g}; nothing was written"
        )
    return model, float(np.abs(difference).max())


def _usual(differences: np.ndarray) -> float:
    """Of (images, classes): root mean square over an image's logits, the median over images."""
    return float(np.median(np.sqrt(np.mean(np.square(differences, dtype=np.float64), axis=1))))
