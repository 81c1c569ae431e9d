"""What is said once for all tables: what their signs mean, and sentences that captions share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.reports.formats import architecture_text
from bench.tables import paper
from bench.tables.captions import ALIKE
from bench.tables.model import Cell, ChosenArchitecture, Table


def key_sentences(tables: Sequence[Table], paper_sign: str = "paper") -> list[str]:
    """A sentence for every sign that occurs.

    Args:
        paper_sign: how the paper's numbers are marked.
    """
    cells = [cell for table in tables for row in table.rows for cell in row.cells]
    sentences = [*_architecture_sentences(cells)]
    if any(cell.behind for cell in cells):
        sentences.append("[a, b] of points: the interval that holds the true difference (95%).")
    if any(cell.alike for cell in cells):
        sentences.append(f"{ALIKE}: cannot be told from the best of its column.")
    if any(cell.spread is not None for cell in cells):
        sentences.append("±: standard deviation over seeds (the architecture is of the first one).")
    if any(cell.paper is not None for cell in cells):
        sentences.append(f"{paper_sign}: the paper's number, of {paper.DATASET}.")
    return sentences


def _architecture_sentences(cells: Iterable[Cell]) -> list[str]:
    choices = [cell.choices[0] for cell in cells if cell.choices]
    found = {is_compound(choice): choice for choice in reversed(choices)}
    return [f"{architecture_text(choice)}: {meaning(choice)}." for choice in found.values()]


def is_compound(choice: ChosenArchitecture) -> bool:
    """Whether its name is of the depths of its stages alone."""
    return "x" not in choice.architecture


def meaning(choice: ChosenArchitecture) -> str:
    """What an architecture's name says: `stages of 2, 3, 4, 3, 2 blocks; images of 160 px`."""
    subnet, _, resolution = choice.architecture.partition("@")
    timed = choice.timed_as.rpartition("@")[2]
    if is_compound(choice):
        stages = f"stages of {', '.join(subnet)} blocks"
    else:
        stages = "kernel x expand ratio of each block, `+` between blocks, `-` between stages"
    if timed == resolution:
        return f"{stages}; images of {resolution} px"
    return f"{stages}; accuracy at {resolution} px, latency at {timed} px"


@dataclass(frozen=True, slots=True)
class Caveats:
    """The shared sentences, in the order of their first appearance; number 1 is the first."""

    sentences: tuple[str, ...]

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]]) -> Caveats:
        """What stands in two of the captions or more."""
        counts = Counter(sentence for caption in captions for sentence in dict.fromkeys(caption))
        return cls(tuple(sentence for sentence, count in counts.items() if count > 1))

    def own(self, caption: Sequence[str]) -> list[str]:
        """The sentences that only this caption has."""
        return [sentence for sentence in caption if sentence not in self.sentences]

    def numbers(self, caption: Sequence[str]) -> list[int]:
        """The numbers of the shared sentences of a caption, ascending."""
        places = {sentence: number for number, sentence in enumerate(self.sentences, start=1)}
        return sorted({places[sentence] for sentence in caption if sentence in places})

    def ranges(self, caption: Sequence[str]) -> list[tuple[int, int]]:
        """The same, as first and last of those that follow each other: 2, 4, 5, 6 as 2-2, 4-6."""
        runs = groupby(enumerate(self.numbers(caption)), lambda each: each[1] - each[0])
        members = [[number for _, number in run] for _, run in runs]
        return [(run[0], run[-1]) for run in members]
