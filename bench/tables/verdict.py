"""What a table says, in sentences: what won where, by how much, and within which error.

A lead is the difference between the best of a column and the next, with the interval that holds
the true one (95%). It is beyond the error where the best is above every other of its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.tables.model import Cell, Column

NOTHING = "fewer than two recipes have a number, so nothing won"


@dataclass(frozen=True, slots=True)
class Lead:
    """The best of a column, called `title`, and how many points it is ahead of the next.

    `low` and `high` are the ends of the 95% interval; `certain`: beyond the error.
    """

    title: str
    method: str
    over: str
    points: float
    low: float
    high: float
    certain: bool

    @property
    def text(self) -> str:
        """`2.25 [-2.10, 6.60]`."""
        return f"{self.points:.2f} [{self.low:.2f}, {self.high:.2f}]"


def lead(title: str, methods: Sequence[str], cells: Sequence[Cell]) -> Lead | None:
    """Who is first in a column; None where fewer than two cells are compared."""
    found = [
        (cell.behind.points, -row, cell.behind, cell.best)
        for row, cell in enumerate(cells)
        if cell.behind is not None
    ]
    if len(found) < 2:
        return None
    found.sort(key=lambda each: each[:2], reverse=True)
    (_, first, _, certain), (_, second, behind, _) = found[:2]
    return Lead(
        title=title,
        method=methods[-first],
        over=methods[-second],
        points=-behind.points,
        low=-behind.high,
        high=-behind.low,
        certain=certain,
    )


def limits_verdict(
    columns: Sequence[Column], methods: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> list[str]:
    """A sentence for every device (`group`) of a table of latency limits; one row beats nobody."""
    if len(rows) < 2:
        return []
    places = [place for place, column in enumerate(columns) if column.limit_ms is not None]
    sentences = []
    for group, members in groupby(places, lambda place: columns[place].group):
        limits = list(members)
        titles = [columns[place].title for place in limits]
        leads = [
            lead(title, methods, [cells[place] for cells in rows])
            for title, place in zip(titles, limits, strict=True)
        ]
        sentences.append(f"{group}: {_limits_text(titles, leads)}.")
    return sentences


def column_verdict(title: str, methods: Sequence[str], cells: Sequence[Cell]) -> str:
    """The sentence for one column: `fOFA (n=3) is first, by 3.39 [1.20, 5.60] points over OFA`."""
    found = lead(title, methods, cells)
    if found is None:
        return f"{title}: {NOTHING}."
    error = "beyond the error" if found.certain else "within the error"
    return (
        f"{title}: {found.method} is first, by {found.text} points over {found.over}; that is "
        f"{error}."
    )


def _limits_text(titles: Sequence[str], leads: Sequence[Lead | None]) -> str:
    known = [each for each in leads if each is not None]
    if not known:
        return NOTHING
    winners = dict.fromkeys(each.method for each in known)
    parts: list[str] = []
    for winner in winners:
        won = [each for each in known if each.method == winner]
        everywhere = len(won) == len(titles) and len(won) > 1
        where = "every limit" if everywhere else _limits(won)
        first = "" if parts else "is first "
        parts.append(f"{winner} {first}at {where}, by {_points(won)}")
    text = "; ".join(parts) + " points over the next"
    if len(known) < len(titles):
        untold = [t for t, each in zip(titles, leads, strict=True) if each is None]
        text += f"; at {_joined(untold)} there is nothing to compare"
    return f"{text}; {_error_text(known)}"


def _error_text(leads: Sequence[Lead]) -> str:
    certain = [each for each in leads if each.certain]
    if not certain:
        return "no lead is beyond the error" if len(leads) > 1 else "that is within the error"
    if len(certain) == len(leads):
        return "every lead is beyond the error" if len(leads) > 1 else "that is beyond the error"
    return f"beyond the error at {_limits(certain)}"


def _points(leads: Sequence[Lead]) -> str:
    ordered = sorted(leads, key=lambda each: each.points)
    ends = dict.fromkeys([ordered[0].text, ordered[-1].text])
    return " to ".join(ends)


def _limits(leads: Sequence[Lead]) -> str:
    return _joined([each.title for each in leads])


def _joined(titles: Sequence[str]) -> str:
    """`15, 20 and 25 ms`: the unit once."""
    bare = [title.removesuffix(" ms") for title in titles[:-1]] + [titles[-1]]
    return " and ".join([", ".join(bare[:-1]), bare[-1]] if len(bare) > 1 else bare)
