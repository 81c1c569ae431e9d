"""`fofa.yaml`, and what `fofa init` suggests."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import run_here

from fofa.commands import init
from fofa.errors import UserError
from fofa.pipeline import config
from fofa.pipeline.config import Config, suggested


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder that holds photos/, with a folder of images for each of two classes."""
    for name in ("rose", "tulip"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.JPG").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "tulip.txt").touch()
    return tmp_path


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package of the pretrained weights were installed."""
    monkeypatch.setattr(config, "PRETRAINED_PACKAGE", "json")


@pytest.mark.parametrize(
    "written",
    [
        Config(),
        Config(data="folder:a: b #c", init=None, budget=1, max_latency=0.5, out="out \u00e4"),
        Config(device="ssh://me@there", init="efficientnet-lite0"),
    ],
)
def test_what_is_written_is_read(written: Config, tmp_path: Path) -> None:
    path = tmp_path / "fofa.yaml"
    path.write_text(written.to_yaml(), encoding="utf-8")
    assert Config.read(path) == written


@pytest.mark.usefixtures("packaged")
def test_images_that_are_here_are_found(photos: Path) -> None:
    assert suggested(photos) == Config(data="folder:photos", init="efficientnet-lite0")
    assert suggested(photos / "photos").data == "folder:."


def test_sides_of_a_split_are_found(photos: Path) -> None:
    (photos / "photos").rename(photos / "train")
    (photos / "all").mkdir()
    (photos / "train").rename(photos / "all" / "train")
    assert suggested(photos).data == "folder:all"


def test_without_images_the_drawn_ones_are_suggested(tmp_path: Path) -> None:
    assert suggested(tmp_path) == Config()


def test_without_the_package_random_weights_are_suggested(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "PRETRAINED_PACKAGE", "no_package_of_this_name")
    assert suggested(photos) == Config(data="folder:photos")


@pytest.mark.usefixtures("packaged")
def test_init_asks_nothing_and_replaces_nothing(photos: Path) -> None:
    done = run_here(init.main, "fofa init", "--max-latency", 5, cwd=photos)
    assert (done.returncode, done.stdout) == (
        0,
        "fofa.yaml: folder:photos on cpu; fofa run does the rest\n",
    )
    path = photos / "fofa.yaml"
    assert Config.read(path) == Config(
        data="folder:photos", init="efficientnet-lite0", max_latency=5.0
    )
    before = path.read_text()
    again = run_here(init.main, "fofa init", "--data", "shapes", cwd=photos)
    assert (again.returncode, again.stderr) == (
        2,
        "fofa init: fofa.yaml: is there already; --force replaces it\n",
    )
    assert path.read_text() == before
    run_here(init.main, "fofa init", "--data", "shapes", "--force", cwd=photos)
    assert Config.read(path) == Config()


@pytest.mark.parametrize("words", [("--budget", "-1"), ("--max-latency", "nan"), ("--data", "")])
def test_init_refuses_what_cannot_be(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run_here(init.main, "fofa init", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("fofa init: field ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datas: shapes", "field datas: Extra inputs are not permitted"),
        ("budget: much", "field budget: Input should be a valid number"),
        ("budget: -1", "field budget: Input should be greater than 0"),
        ("max_latency: .nan", "field max_latency: "),
        ("data: [a]", "field data: Input should be a valid string"),
        ("options: {fly: []}", "field options.fly"),
        ("options: {train: --threads}", "field options.train: Input should be a valid list"),
        ("- data", "expected a YAML mapping that describes what to do"),
        ("a: b: c", "not YAML: "),
        ("!!python/object/apply:os.system ['ls']", "not YAML: "),
    ],
)
def test_a_wrong_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "fofa.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        Config.read(path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no such file; fofa init writes one$"):
        Config.read(tmp_path / "nothing")
