from collections import Counter

import numpy as np
import onnx
import pytest

from fofa.errors import UserError
from fofa.export.onnx_file import network_model, session_logits
from fofa.export.quantise import quantise


def test_weights_are_8_bit_and_predictions_mostly_stay(network, shapes) -> None:
    model = network_model(network, 32, {"name": "n", "top1": "1"})
    small = quantise(model, shapes.calibration_batches(32, 40, 10))
    kinds = Counter(weight.data_type for weight in small.graph.initializer if len(weight.dims) == 4)
    assert set(kinds) == {onnx.TensorProto.INT8}
    assert small.ByteSize() < 0.6 * model.ByteSize()
    assert {p.key for p in small.metadata_props} == {"name", "top1"}
    images, _ = next(iter(shapes.test_batches(32, 100, 100)))
    same = session_logits(model)(images).argmax(1) == session_logits(small)(images).argmax(1)
    assert np.mean(same) > 0.5


def test_no_images_is_an_error(network) -> None:
    with pytest.raises(UserError, match="there are none"):
        quantise(network_model(network, 32, {}), [])
