"""Local search: improve one architecture by single changes and by trades of two.

A move changes one thing: a block's choice, a stage's depth by one, or the resolution. Under a limit
most good steps are trades, one move that gains accuracy paid for by another that gains time. Trades
are ranked by the sum of their two moves' effects, and the most promising are scored exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fofa.search.costs import affordable
from fofa.search.problem import Constraint, Score, within_limits
from fofa.space.encoding import ABSENT, Population

MAX_STEPS = 50
TRADES_SCORED = 128
LAP, FINALISTS = 2, 2
"""Steps between two halvings of a race, and how many climb to the end."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best architecture of a search: `best` has one row; `evaluated` counts scored ones."""

    best: Population
    score: float
    evaluated: int


def race(score: Score, starts: Sequence[Found], constraints: Sequence[Constraint]) -> Found:
    """Climb from several architectures at once; the better half goes on after every two steps.

    Args:
        starts: architectures within the constraints, with their scores.

    Returns:
        What the last climber reached, or better; `evaluated` counts all climbers' scores.
    """
    climbers, evaluated = list(starts), 0
    while len(climbers) > FINALISTS:
        reached = [climb(score, c.best, c.score, constraints, max_steps=LAP) for c in climbers]
        evaluated += sum(found.evaluated for found in reached)
        # Climbers that met go on as one.
        distinct = {int(found.best.keys()[0]): found for found in reached}
        ranked = sorted(distinct.values(), key=lambda found: -found.score)
        climbers = ranked[: max(FINALISTS, len(climbers) // 2)]
    reached = [climb(score, c.best, c.score, constraints) for c in climbers]
    evaluated += sum(found.evaluated for found in reached)
    best = max(reached, key=lambda found: found.score)
    return Found(best.best, best.score, evaluated)


def climb(
    score: Score,
    start: Population,
    start_score: float,
    constraints: Sequence[Constraint],
    *,
    max_steps: int = MAX_STEPS,
) -> Found:
    """Take the best step until none improves, at most `max_steps` times.

    Args:
        start: one row, within the constraints.
    """
    best, best_score, evaluated = start, start_score, 0
    for _ in range(max_steps):
        moves, touched = neighbours(best)
        scores = score(moves)
        trades = _trades(best, best_score, moves, touched, scores, constraints)
        trade_scores = score(trades)
        evaluated += len(moves) + len(trades)
        allowed = np.where(within_limits(moves, constraints), scores, -np.inf)
        single = int(np.argmax(allowed))
        step, reached = moves[single : single + 1], float(allowed[single])
        if len(trades) and trade_scores.max() > reached:
            pair = int(np.argmax(trade_scores))
            step, reached = trades[pair : pair + 1], float(trade_scores[pair])
        if reached <= best_score:
            break
        best, best_score = step, reached
    return Found(best, best_score, evaluated)


def neighbours(one: Population) -> tuple[Population, np.ndarray]:
    """Every architecture one move away from `one` (one row), and the slots each move claims.

    Returns:
        The neighbours (M rows), and bool (M, slots): a block's move claims its slot, a change of
        depth its whole stage, a change of resolution everything. Moves with no slot in common
        combine.
    """
    base, encoding = one.codes[0], one.encoding
    rows, claims = [], []
    for slot in range(encoding.num_slots):
        stage, place = divmod(slot, encoding.max_depth)
        of_stage = slice(stage * encoding.max_depth, (stage + 1) * encoding.max_depth)
        depths = one.family.stages[stage].depths
        depth = int((base[of_stage] != ABSENT).sum())
        deepens = place == depth
        for code in range(1, encoding.num_codes):
            if place > depth or place >= depths[-1] or base[slot] == code:
                continue
            rows.append(base.copy())
            rows[-1][slot] = code
            claims.append(of_stage if deepens else slice(slot, slot + 1))
        if place == depth - 1 and depth > depths[0]:
            rows.append(base.copy())
            rows[-1][slot] = ABSENT
            claims.append(of_stage)
    index = [int(one.resolution_index[0])] * len(rows)
    for resolution in range(len(one.resolutions)):
        if resolution != one.resolution_index[0]:
            rows.append(base.copy())
            claims.append(slice(None))
            index.append(resolution)
    touched = np.zeros((len(rows), encoding.num_slots), dtype=bool)
    for row, claim in enumerate(claims):
        touched[row, claim] = True
    return one.replaced(np.array(rows), np.array(index)), touched


def _trades(
    base: Population,
    base_score: float,
    moves: Population,
    touched: np.ndarray,
    scores: np.ndarray,
    constraints: Sequence[Constraint],
) -> Population:
    """The most promising combinations of two moves that keep every limit."""
    first, second = np.triu_indices(len(moves), k=1)
    shared = touched.astype(np.float32) @ touched.T.astype(np.float32)
    keep = shared[first, second] == 0
    for constraint in constraints:
        now = constraint.costs.of(base)[0]
        change = constraint.costs.of(moves) - now
        keep &= affordable(now + change[first] + change[second], constraint.limit)
    gain = scores[first] + scores[second] - 2 * base_score
    promising = np.flatnonzero(keep & (gain > 0))
    if len(promising) > TRADES_SCORED:
        promising = promising[np.argpartition(-gain[promising], TRADES_SCORED)[:TRADES_SCORED]]
    one, other = first[promising], second[promising]
    codes = np.where(touched[other], moves.codes[other], moves.codes[one])
    trades = base.replaced(codes, np.repeat(base.resolution_index, len(promising)))
    return trades[np.flatnonzero(within_limits(trades, constraints))]
