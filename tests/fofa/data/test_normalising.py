"""Another normalisation changes the numbers, not the images."""

from __future__ import annotations

import torch

from fofa.data import open_data
from fofa.data.normalising import normalised_as
from fofa.data.sampling import TrainOrder


def test_images_are_the_same_under_another_normalisation() -> None:
    source = open_data("shapes")
    assert normalised_as(source, source.mean, source.std) is source
    other = normalised_as(source, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    order = TrainOrder(num_images=source.num_train, batch_size=4, seed=0, rank=0, world_size=1)

    def raw(data, images: torch.Tensor) -> torch.Tensor:
        return images * torch.tensor(data.std).view(3, 1, 1) + torch.tensor(data.mean).view(3, 1, 1)

    for batches in (
        lambda data: data.train_batches(order, range(2), lambda step: 24),
        lambda data: data.calibration_batches(24, 8, 4),
        lambda data: data.test_batches(24, 4, 8),
    ):
        pairs = list(zip(batches(source), batches(other), strict=True))
        assert len(pairs) == 2
        for (images, labels), (renormalised, same_labels) in pairs:
            assert torch.equal(labels, same_labels)
            assert not torch.allclose(images, renormalised)
            torch.testing.assert_close(raw(source, images), raw(other, renormalised))
    assert (other.spec, other.num_test, other.num_skipped) == ("shapes", source.num_test, 0)
