"""Training a predictor: which architectures to measure, the fit to them, the error on others."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fofa.accuracy import AccuracyTable, ArchitectureAccuracy
from fofa.errors import UserError
from fofa.predictor.model import HeldOutRecord, Predictor, PredictorRecord, features
from fofa.space import Architecture, SearchSpace
from fofa.space.encoding import encode

LEAST_ARCHITECTURES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a predictor is trained: Adam, cosine schedule, mean squared error.

    The weight decay is strong because architectures are few and features many: with 800 of them
    labelled by OFA's predictor, Kendall tau on others was 0.91 with it and 0.78 with 1e-4.

    Attributes:
        hidden: widths of the hidden layers.
        held_out: share of the architectures that only judge the result.
    """

    hidden: tuple[int, ...] = (256, 256)
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 3e-2
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"held-out share {self.held_out:g}: expected between 0 and 1")
        if self.epochs < 1 or self.batch_size < 1 or min(self.hidden, default=0) < 1:
            raise UserError("a predictor needs an epoch, a batch and hidden layers of 1 or more")


def sample_architectures(space: SearchSpace, num: int, seed: int) -> list[Architecture]:
    """`num` different architectures, each elastic choice drawn uniformly.

    Raises:
        UserError: if the space is compound (all of it can be measured), or `num` is not possible.
    """
    if space.kind != "elastic":
        raise UserError(
            "the compound space needs no predictor: fofa-eval measures all of its architectures"
        )
    if not 1 <= num <= 1_000_000:
        raise UserError(f"{num} architectures: expected 1 to 1,000,000")
    rng = random.Random(seed)
    drawn: dict[Architecture, None] = {}
    while len(drawn) < num:  # the space holds more than 10^19
        drawn[space.sample(rng)] = None
    return list(drawn)


def train_predictor(
    tables: Sequence[AccuracyTable],
    config: TrainingConfig | None = None,
    *,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Predictor:
    """Fit a predictor to tables of one supernet; its record holds the error on held-out ones.

    The held-out part is drawn by the seed and takes no part in any choice.

    Raises:
        UserError: if the tables are not of one supernet, overlap, or hold too few architectures.
    """
    config = config or TrainingConfig()
    rows = _rows(tables)
    table = tables[0]
    resolutions = tuple(sorted({row.architecture.resolution for row in rows}))
    population = encode([row.architecture for row in rows], resolutions, table.space.family)
    inputs = features(population, resolutions)
    top1 = np.array([row.top1 / 100 for row in rows], dtype=np.float32)
    order = np.random.default_rng(config.seed).permutation(len(rows))
    num_held = max(2, round(config.held_out * len(rows)))
    held, used = order[:num_held], order[num_held:]
    if not len(used):
        raise UserError(
            f"held-out share {config.held_out:g} of {len(rows)} architectures leaves none to "
            "train on"
        )
    weights, biases = _fit(inputs[used], top1[used], config, on_epoch)
    record = PredictorRecord(
        recipe=table.recipe,
        dataset=table.dataset,
        space=table.space.model_copy(update={"resolutions": list(resolutions)}),
        num_classes=table.network_config.num_classes,
        proxy=table.proxy,
        trained_on=len(used),
        seed=config.seed,
    )
    predictor = Predictor(record, weights, biases)
    error = judge(predictor.predict(population[held]), top1[held].astype(np.float64))
    return Predictor(record.model_copy(update={"held_out": error}), weights, biases)


def judge(predicted: np.ndarray, measured: np.ndarray) -> HeldOutRecord:
    """Rank correlation and errors of predictions, both (N,) as fractions."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(predicted, measured).statistic) if len(predicted) > 1 else math.nan
    errors = 100 * np.abs(predicted - measured)
    return HeldOutRecord(
        architectures=len(predicted),
        kendall_tau=None if math.isnan(tau) else tau,
        mean_error=float(errors.mean()),
        max_error=float(errors.max()),
    )


def _rows(tables: Sequence[AccuracyTable]) -> list[ArchitectureAccuracy]:
    """All rows, if the tables belong together."""
    if not tables:
        raise UserError("a predictor is trained on one accuracy table or more")
    first = tables[0]
    if any(table.dtype == "int8" for table in tables):
        raise UserError("a predictor is of accuracies in floating point, and a table is of int8")
    for table in tables[1:]:
        for name in ("recipe", "dataset", "preset", "training", "proxy"):
            if getattr(table, name) != getattr(first, name):
                raise UserError(f"the accuracy tables are not of one supernet: {name} differs")
        for name in ("family", "kind", "width_mult"):
            if getattr(table.space, name) != getattr(first.space, name):
                raise UserError("the accuracy tables are not of one supernet: space differs")
    rows = [row for table in tables for row in table.architectures]
    if len({row.architecture for row in rows}) != len(rows):
        raise UserError("an architecture is in the accuracy tables twice")
    if len(rows) < LEAST_ARCHITECTURES:
        raise UserError(
            f"{len(rows)} measured architectures are too few for a predictor: expected "
            f"{LEAST_ARCHITECTURES} or more, better a thousand (fofa-predictor sample names them)"
        )
    return rows


def _fit(
    inputs: np.ndarray, top1: np.ndarray, config: TrainingConfig, on_epoch: Callable[[int], None]
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Weights (in, out) and biases of a network fitted to standardised accuracies."""
    generator = torch.Generator().manual_seed(config.seed)
    mean, deviation = float(top1.mean()), float(top1.std()) or 1.0
    x = torch.from_numpy(inputs)
    y = torch.from_numpy((top1 - mean) / deviation)
    layers = _layers((inputs.shape[1], *config.hidden, 1), generator)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    optimiser = torch.optim.Adam(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
    for epoch in range(config.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(config.batch_size):
            optimiser.zero_grad()
            hidden = x[rows]
            for layer in layers[:-1]:
                hidden = layer(hidden).relu()
            loss = nn.functional.mse_loss(layers[-1](hidden)[:, 0], y[rows])
            loss.backward()
            optimiser.step()
        schedule.step()
        on_epoch(epoch)
    weights = [layer.weight.detach().numpy().T.copy() for layer in layers]
    biases = [layer.bias.detach().numpy().copy() for layer in layers]
    # The last layer undoes the standardisation, so that the file predicts fractions by itself.
    weights[-1] = weights[-1] * np.float32(deviation)
    biases[-1] = biases[-1] * np.float32(deviation) + np.float32(mean)
    return tuple(weights), tuple(biases)


def _layers(widths: tuple[int, ...], generator: torch.Generator) -> list[nn.Linear]:
    """Linear layers of these widths, He-initialised by `generator` alone."""
    layers = []
    for into, out in itertools.pairwise(widths):
        layer = nn.Linear(into, out)
        with torch.no_grad():
            layer.weight.normal_(0, (2 / into) ** 0.5, generator=generator)
            layer.bias.zero_()
        layers.append(layer)
    return layers
