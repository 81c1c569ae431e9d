"""Ranges: what a brute-force sort finds, however the images are batched."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.int8.ranges import RangeRecorder
from fofa.runtime.int8 import Int8Scheme


def recorded(images, cuts, scheme, num_images=None):
    recorder = RangeRecorder(scheme, num_images or len(images))
    for batch in torch.tensor_split(images, cuts):
        if len(batch):
            recorder.see("p", batch)
    return recorder.ranges()["p"]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.integers(0, 12), max_size=4).map(sorted),
    percentile=st.sampled_from([60.0, 90.0, 99.0, 99.9, 100.0]),
    announced=st.integers(12, 20),
)
def test_a_percentile_drops_as_many_values_at_either_end(seed, cuts, percentile, announced):
    images = torch.randn(12, 3, 5, 4, generator=torch.Generator().manual_seed(seed)).relu()
    scheme = Int8Scheme(ranges="percentile", percentile=percentile)
    found = recorded(images, cuts, scheme, announced)
    values = np.sort(images.numpy().ravel())
    dropped = int(len(values) * (100 - percentile) / 200)
    assert (found.low, found.high) == (values[dropped], values[len(values) - 1 - dropped])


def test_minmax_holds_all_values():
    images = torch.randn(9, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    found = recorded(images, [4], Int8Scheme())
    assert (found.low, found.high) == (float(images.min()), float(images.max()))


def test_no_images_more_than_announced_and_values_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="there are none"):
        RangeRecorder(Int8Scheme(), 3).ranges()
    with pytest.raises(ValueError, match="more than 3 images"):
        recorded(torch.ones(4, 1, 1, 1), [2], Int8Scheme(), 3)
    with pytest.raises(UserError, match="the values at p are not finite"):
        recorded(torch.tensor([1.0, float("nan")]).reshape(2, 1, 1, 1), [1], Int8Scheme())
