"""Exact search of 972 architectures, and evolutionary search of the elastic space."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fofa.accuracy import (
    AccuracyTable,
    ArchitectureAccuracy,
    EvaluationRecord,
    SpaceRecord,
    TrainingRecord,
)
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.predictor.model import load_predictor
from fofa.search.exact import best_within, pareto_front
from fofa.search.pairing import pair
from fofa.search.problem import Problem, Target
from fofa.search.solve import solve
from fofa.space import NetworkConfig, SearchSpace, macs, params

EXACT_GOAL_MS = 10.0
ELASTIC_GOAL_S = 0.7
ELASTIC_GOALS = {15.0: 0.7840, 20.0: 0.8020, 25.0: 0.8189, 30.0: 0.8250}
"""Limit on the Note10 (ms) and the accuracy that a peer's search predicts there, in 7 s."""
OFA_RESOLUTIONS = (160, 176, 192, 208, 224)
NUM_RESOLUTIONS = 4
WARM_UP, REPEATS = 3, 15


def run(
    lut: Annotated[Path, typer.Option(help="Latency table to search.")] = Path("luts/note10.json"),
    predictor: Annotated[
        Path | None,
        typer.Option(help="OFA's accuracy predictor (.pth), for the elastic space."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the elastic search: 0 to N-1.")] = 5,
) -> None:
    """Time the exact search and, with a predictor, the elastic one beside its goals."""
    table = Lut.read(lut)
    _exact(table)
    if predictor is not None:
        _elastic(table, predictor, seeds)


def made_up_accuracy(lut: Lut) -> AccuracyTable:
    """An accuracy table of random numbers, for timing only: 972 architectures the LUT can time."""
    resolutions = tuple(sorted(lut.space.resolutions)[-NUM_RESOLUTIONS:])
    if len(resolutions) < NUM_RESOLUTIONS:
        raise UserError(f"the table has {len(resolutions)} resolutions, expected {NUM_RESOLUTIONS}")
    width = 1.0 if lut.method == "published" else lut.space.width_mult
    space = SearchSpace(width_mult=width, resolutions=resolutions)
    config = NetworkConfig(width_mult=width)
    rng = random.Random(0)
    return AccuracyTable(
        recipe="made-up",
        dataset="none",
        space=SpaceRecord.of(space),
        training=TrainingRecord(epochs=0, gpu_hours=0, device="none", images_per_second=0, seed=0),
        evaluation=EvaluationRecord(calibration_images=0, test_images=1, split="none"),
        architectures=[
            ArchitectureAccuracy(
                name=architecture.name,
                top1=rng.uniform(60, 80),
                top5=90,
                macs=macs(architecture, config),
                params=params(architecture, config),
            )
            for architecture in space.architectures()
        ],
    )


def _exact(lut: Lut) -> None:
    accuracy = made_up_accuracy(lut)
    candidates = pair(lut, accuracy)
    limit = float(statistics.median(candidates.latency_ms))
    ways: dict[str, Callable[[], object]] = {
        "pairing the two tables": lambda: pair(lut, accuracy),
        "best within a limit": lambda: best_within(
            candidates.top1, candidates.latency_ms, candidates.architectures, limit
        ),
        "Pareto front": lambda: pareto_front(
            candidates.top1, candidates.latency_ms, candidates.architectures
        ),
    }
    print(f"exact search of {len(candidates)} architectures on {lut.device.requested}")
    total = 0.0
    for name, way in ways.items():
        milliseconds = _median_ms(way)
        total += milliseconds
        print(f"{name:24} {milliseconds:8.3f} ms")
    print(f"{'together':24} {total:8.3f} ms   goal {EXACT_GOAL_MS:g} ms")


def _elastic(lut: Lut, path: Path, seeds: int) -> None:
    predictor = load_predictor(path)
    print(f"elastic search on {lut.device.requested}, {OFA_RESOLUTIONS} px, seeds 0 to {seeds - 1}")
    print("limit     compound optimum   elastic: least, mean   goal      slowest   goal")
    for limit, goal in ELASTIC_GOALS.items():
        target = Target(name=str(path), lut=lut, limit_ms=limit)
        exact = Problem(accuracy=predictor, targets=(target,), resolutions=OFA_RESOLUTIONS)
        optimum = solve(exact).results[0].top1 / 100
        outcomes = [
            solve(
                Problem(
                    accuracy=predictor,
                    targets=(target,),
                    resolutions=OFA_RESOLUTIONS,
                    space="elastic",
                    seed=seed,
                )
            )
            for seed in range(seeds)
        ]
        reached = [outcome.results[0].top1 / 100 for outcome in outcomes]
        slowest = max(outcome.seconds for outcome in outcomes)
        print(
            f"{limit:4g} ms   {optimum:.4f}             {min(reached):.4f}, "
            f"{statistics.mean(reached):.4f}         {goal:.4f}    {slowest:.3f} s   "
            f"{ELASTIC_GOAL_S:g} s"
        )


def _median_ms(way: Callable[[], object]) -> float:
    times = []
    for repeat in range(WARM_UP + REPEATS):
        started = time.perf_counter()
        way()
        if repeat >= WARM_UP:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)
