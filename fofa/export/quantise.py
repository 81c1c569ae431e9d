"""int8 by onnxruntime's static quantisation."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from torch import Tensor

from fofa.errors import UserError
from fofa.runtime.graph import INPUT_NAME


def quantise(model: onnx.ModelProto, batches: Iterable[tuple[Tensor, Tensor]]) -> onnx.ModelProto:
    """`model` (fp32) with 8-bit weights and activations, as QuantizeLinear/DequantizeLinear.

    Weights are signed, by channel; activations unsigned, their ranges those that `batches` of
    training images show. The metadata is kept.

    Raises:
        UserError: if there are no images.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """The batches as onnxruntime's calibration takes them."""

        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, np.ndarray]] = (
                {INPUT_NAME: images.cpu().numpy()} for images, _ in batches
            )
            self.count = 0

        def get_next(self) -> dict[str, np.ndarray] | None:
            feed = next(self.feeds, None)
            self.count += feed is not None
            return feed

    reader = Reader()
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory(prefix="fofa-int8-") as folder:
        target = Path(folder) / "int8.onnx"
        # The quantiser advises a preprocessing step, which this graph, already folded and of
        # known shapes, does not need; the advice would only confuse.
        root.setLevel(logging.ERROR)
        try:
            quantize_static(
                onnx.ModelProto.FromString(model.SerializeToString()),  # a copy: it is emptied
                str(target),
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except ValueError:
            if not reader.count:
                raise UserError("int8 needs calibration images, and there are none") from None
            raise
        finally:
            root.setLevel(level)
        quantised = onnx.load(target)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    return quantised
