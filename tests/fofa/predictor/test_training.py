import random

import numpy as np
import pytest
from made_up_tables import make_accuracy

from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.predictor.training import (
    TrainingConfig,
    judge,
    sample_architectures,
    train_predictor,
)
from fofa.space import SearchSpace
from fofa.space.encoding import encode

SPACE = SearchSpace(kind="elastic", width_mult=0.5, resolutions=(128, 160))
QUICK = TrainingConfig(hidden=(64,), epochs=60)
pytestmark = pytest.mark.usefixtures("one_thread")


def table(num: int, seed: int = 0, recipe: str = "ofa") -> AccuracyTable:
    """Accuracies that grow with depth, expand ratio and resolution."""
    rng = random.Random(seed)
    drawn = {SPACE.sample(rng): None for _ in range(num)}
    return make_accuracy(
        recipe=recipe,
        kind="elastic",
        width_mult=SPACE.width_mult,
        num_classes=10,
        resolutions=SPACE.resolutions,
        architectures=drawn,
        top1=lambda a: (
            50
            + sum(block.expand for stage in a.subnet.stages for block in stage) / 5
            + a.resolution / 80
        ),
    )


def test_a_learnable_accuracy_is_learnt_and_judged_on_held_out_ones() -> None:
    measured = table(500)
    epochs = []
    predictor = train_predictor([measured], QUICK, on_epoch=epochs.append)
    held = predictor.record.held_out
    assert held.architectures == 100
    assert predictor.record.trained_on == 400
    assert held.kendall_tau > 0.8
    assert held.mean_error < 1.0 < np.std([row.top1 for row in measured.architectures])
    assert len(epochs) == 60
    assert predictor.record.num_classes == 10
    assert predictor.resolutions == (128, 160)


def test_the_held_out_error_is_that_of_new_architectures() -> None:
    predictor = train_predictor([table(300)], QUICK)
    new = table(200, seed=99)
    population = encode([row.architecture for row in new.architectures], (128, 160))
    measured = np.array([row.top1 / 100 for row in new.architectures])
    error = judge(predictor.predict(population), measured)
    assert error.mean_error < 2 * predictor.record.held_out.mean_error


def test_training_is_reproducible_and_takes_several_tables() -> None:
    parts = [table(40, seed=1), table(40, seed=2)]
    quick = TrainingConfig(hidden=(8,), epochs=3)
    first, again = train_predictor(parts, quick), train_predictor(parts, quick)
    assert first.record == again.record
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))
    assert first.record.trained_on + first.record.held_out.architectures == 80


def test_tables_that_do_not_belong_together() -> None:
    with pytest.raises(UserError, match="recipe differs"):
        train_predictor([table(30), table(30, seed=1, recipe="other")], QUICK)
    with pytest.raises(UserError, match="twice"):
        train_predictor([table(30), table(30)], QUICK)
    with pytest.raises(UserError, match="too few"):
        train_predictor([table(5)], QUICK)
    with pytest.raises(UserError, match="one accuracy table or more"):
        train_predictor([], QUICK)
    with pytest.raises(UserError, match=r"held-out share 0\.99 of 30 architectures leaves none"):
        train_predictor([table(30)], TrainingConfig(held_out=0.99, epochs=1))


def test_multiply_adds_of_another_width_are_noticed() -> None:
    wrong = table(30)
    rows = [row.model_copy(update={"macs": row.macs + 1}) for row in wrong.architectures]
    with pytest.raises(UserError, match="not those of a network of its width"):
        train_predictor([wrong.model_copy(update={"architectures": rows})], QUICK)


def test_ranks_that_say_nothing_are_none() -> None:
    assert judge(np.array([0.5, 0.5]), np.array([0.4, 0.6])).kendall_tau is None
    assert judge(np.array([0.5]), np.array([0.4])).kendall_tau is None
    assert judge(np.array([0.1, 0.2]), np.array([0.1, 0.2])).kendall_tau == pytest.approx(1)


@pytest.mark.parametrize("fault", [{"held_out": 0.0}, {"held_out": 1.0}, {"epochs": 0}])
def test_impossible_training(fault) -> None:
    with pytest.raises(UserError):
        TrainingConfig(**fault)


def test_samples_are_different_seeded_and_of_the_space() -> None:
    first = sample_architectures(SPACE, 100, 1)
    assert len(set(first)) == 100
    assert first == sample_architectures(SPACE, 100, 1)
    assert first != sample_architectures(SPACE, 100, 2)
    assert all(architecture in SPACE for architecture in first)


def test_the_compound_space_is_not_sampled() -> None:
    with pytest.raises(UserError, match="needs no predictor"):
        sample_architectures(SearchSpace(), 10, 0)


@pytest.mark.parametrize("num", [0, -1, 10**7])
def test_impossible_numbers(num) -> None:
    with pytest.raises(UserError, match="expected 1 to"):
        sample_architectures(SPACE, num, 0)
