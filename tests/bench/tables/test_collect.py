"""Reading folders and files: what replaces what, what is passed over, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.tables.collect import Collection, collect, require_accuracy, slug
from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut


def read(folder: Path, **named: list[Path]) -> Collection:
    return collect(accuracy_dir=folder / "reports/accuracy", luts_dir=folder / "luts", **named)


def test_folders_are_read_in_the_papers_order(shared_project: Path) -> None:
    collection = read(shared_project)
    (results,) = collection.results
    assert [source.identity for source in results.sources] == [
        ("ofa", 0),
        ("compofa", 0),
        ("fofa-n3", 0),
        ("fofa-n3", 1),
        ("fofa-n4", 0),
        ("fofa-n4-300", 0),
        ("sandwich", 0),
    ]
    assert [source.device for source in collection.luts] == ["a100", "epyc7763", "note10", "pascal"]
    assert collection.other_luts() == []


def test_named_files_take_the_place_of_the_folders(
    shared_project: Path,
    tmp_path: Path,
    make_accuracy: Callable[..., AccuracyTable],
    make_lut: Callable[..., Lut],
) -> None:
    better, slower = tmp_path / "better.json", tmp_path / "slower.json"
    make_accuracy("ofa", bonus=1.0).write(better)
    make_lut("epyc7763", factor=2.0).write(slower)
    collection = read(shared_project, accuracy=[better, better], luts=[slower])
    assert len(collection.accuracy) == 7
    assert [s.path for s in collection.accuracy if s.table.recipe == "ofa"] == [better]
    assert [s.path for s in collection.of_device("epyc7763")] == [slower]


def test_a_file_of_the_folder_may_be_named_too(shared_project: Path) -> None:
    path = shared_project / "luts/epyc.json"
    collection = read(shared_project, luts=[path])
    assert [source.named for source in collection.of_device("epyc7763")] == [True]


def test_other_data_is_another_setting(
    shared_project: Path, tmp_path: Path, make_accuracy: Callable[..., AccuracyTable]
) -> None:
    path = tmp_path / "shapes.json"
    make_accuracy("ofa", dataset="shapes", preset=None).write(path)
    collection = read(shared_project, accuracy=[path])
    assert [results.setting.name for results in collection.results] == [
        "cifar10, preset cifar10-small",
        "shapes",
    ]
    assert len(collection.results[1].sources) == 1


def test_side_files_are_passed_over_and_damaged_ones_are_not(
    project: Path, make_lut: Callable[..., Lut]
) -> None:
    folder = project / "luts"
    (folder / "schema.json").write_text('{"$schema": "https://json-schema.org/"}')
    (folder / "samples.json").write_text('{"schema": "fofa.samples/1"}')
    (folder / ".half-written.json").write_text("{")
    assert len(read(project).luts) == 4
    (folder / "damaged.json").write_text('{"device": 1}')
    with pytest.raises(UserError, match=r"damaged\.json: schema is null"):
        read(project)


def test_missing_folders_are_empty_and_missing_accuracy_says_what_to_do(tmp_path: Path) -> None:
    collection = read(tmp_path / "nowhere")
    assert (collection.accuracy, collection.luts) == ((), ())
    with pytest.raises(UserError, match="make one with fofa-eval RUN --out"):
        require_accuracy(collection)


@pytest.mark.parametrize(
    ("text", "expected"), [("fofa-n3", "fofa-n3"), ("My Phone (2)", "my-phone-2"), ("??", "table")]
)
def test_slugs_are_safe_in_names_and_links(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_two_tables_of_one_supernet_are_refused(
    project: Path, make_accuracy: Callable[..., AccuracyTable]
) -> None:
    make_accuracy("ofa", bonus=1.0).write(project / "reports/accuracy/copy.json")
    with pytest.raises(UserError, match="both are of ofa seed 0 on the same data; keep one"):
        read(project)
