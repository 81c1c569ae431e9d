"""What captions share is said once; what signs mean, where they are."""

from __future__ import annotations

from bench.reports.notes import Caveats, key_sentences, meaning
from bench.tables.model import Behind, Cell, ChosenArchitecture, Column, MethodRow, Table


def test_shared_sentences_get_numbers_and_the_others_stay() -> None:
    captions = [["a.", "b.", "c."], ["b.", "d.", "c."], ["e.", "e."]]
    caveats = Caveats.of(captions)
    assert caveats.sentences == ("b.", "c.")
    assert [caveats.own(caption) for caption in captions] == [["a."], ["d."], ["e.", "e."]]
    assert [caveats.numbers(caption) for caption in captions] == [[1, 2], [1, 2], []]
    assert [caveats.ranges(caption) for caption in captions] == [[(1, 2)], [(1, 2)], []]
    spaced = Caveats(("a.", "b.", "c.", "d."))
    assert spaced.ranges(["a.", "d.", "c."]) == [(1, 1), (3, 4)]


def choice(architecture: str, timed_as: str) -> ChosenArchitecture:
    return ChosenArchitecture(
        seed=0,
        architecture=architecture,
        timed_as=timed_as,
        top1=1,
        latency_ms=1,
        accuracy="",
        lut="",
    )


def test_the_name_of_an_architecture_is_explained() -> None:
    assert meaning(choice("23432@40", "23432@160")) == (
        "stages of 2, 3, 4, 3, 2 blocks; accuracy at 40 px, latency at 160 px"
    )
    assert meaning(choice("23432@160", "23432@160")).endswith("; images of 160 px")
    assert meaning(choice("3x4+5x6-7x3@160", "3x4+5x6-7x3@160")).startswith("kernel x expand ratio")


def test_only_signs_that_occur_are_explained() -> None:
    def key(*cells: Cell) -> str:
        columns = [Column(title="c") for _ in cells]
        row = MethodRow(method="m", recipe="m", cells=list(cells))
        return " ".join(
            key_sentences([Table(name="t", title="T", caption=[], columns=columns, rows=[row])])
        )

    assert key(Cell(value=1)) == ""
    assert "standard deviation" in key(Cell(value=1, spread=1))
    assert "cannot be told" in key(Cell(value=1, alike=True))
    assert "[a, b]" in key(Cell(value=1, behind=Behind(points=-1, low=-2, high=0)))
    assert "[a, b]" not in key(Cell(value=1, low=0, high=2))
    assert "the paper's number" in key(Cell(value=1, paper=2))
    shown = key(Cell(value=1, choices=[choice("23432@40", "23432@160")]))
    assert shown.startswith("23432@40→160: stages of 2, 3, 4, 3, 2 blocks")
