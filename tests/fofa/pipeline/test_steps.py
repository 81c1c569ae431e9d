"""The steps of `fofa run`: in order, once, again where something changed, and stopped anywhere."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from in_process import run_here
from rich.console import Console

from fofa.commands import search as search_command
from fofa.errors import UserError
from fofa.pipeline import steps
from fofa.pipeline.config import Config
from fofa.pipeline.report import verdict, write_report
from fofa.pipeline.steps import carry_out
from fofa.runs import RECORD_NAME, WEIGHTS_NAME

ALL = ["train", "eval", "profile", "front", "search", "export"]


class Programs:
    """Stand-ins for the programs: the search is the real one, the others leave made-up files."""

    def __init__(self, make_lut: Callable, make_accuracy: Callable) -> None:
        self.make_lut, self.make_accuracy = make_lut, make_accuracy
        self.called: list[str] = []
        self.fails: dict[str, int] = {}
        self.words: dict[str, list[str]] = {}

    def __call__(self, words: Sequence[str], output: Path | None) -> int:
        name = "front" if "--pareto" in words else words[0]
        self.called.append(name)
        self.words[name] = list(words)
        if name in self.fails:
            return self.fails[name]
        place = Path(words[words.index("--out") + 1]) if "--out" in words else Path()
        match words[0]:
            case "train" | "import":
                place.mkdir(exist_ok=True)
                (place / RECORD_NAME).write_text(" ".join(words))
                (place / WEIGHTS_NAME).write_text("weights")
            case "eval":
                self.make_accuracy(resolutions=(24, 32)).write(place)
            case "profile":
                self.make_lut(resolutions=(24, 32)).write(place)
            case "export":
                place.write_text("network")
        if output is not None:
            text = json.dumps({"max_difference": 1e-6})
            if words[0] == "search":
                done = run_here(search_command.main, "fofa-search", *words[1:], cwd=None)
                assert done.returncode == 0, done.stderr
                text = done.stdout
            output.write_text(text)
        return 0


@pytest.fixture
def programs(make_lut, make_accuracy, tmp_path, monkeypatch) -> Programs:
    monkeypatch.chdir(tmp_path)
    return Programs(make_lut, make_accuracy)


def go(programs: Programs, **fields: object) -> tuple[int, str, list[str]]:
    """Carry out; the exit code, what was said, and the programs that were called."""
    programs.called.clear()
    said = io.StringIO()
    code, _ = carry_out(Config(**fields), Console(file=said, width=1000), programs)
    return code, said.getvalue(), list(programs.called)


def test_all_steps_once(programs: Programs) -> None:
    code, said, called = go(programs)
    assert (code, called) == (0, ALL)
    assert [line.partition(":")[0] for line in said.splitlines()] == ALL
    assert programs.words["train"] == [
        *("train", "--recipe", "fofa-n3", "--data", "shapes", "--out", "fofa-out/run"),
    ]
    code, said, called = go(programs)
    assert (code, called) == (0, [])
    assert said.splitlines() == [f"{name}: done before" for name in ALL]


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        ({"max_latency": 5.0}, ["search"]),
        ({"device": "other"}, ["profile"]),
        ({"budget": 0.5}, ["train", "eval", "profile", "export"]),
        ({"options": {"export": ["--test-images", "3"]}}, ["export"]),
    ],
)
def test_what_follows_from_a_change_is_done_again(
    programs: Programs, fields: dict[str, object], again: list[str]
) -> None:
    go(programs)
    code, _, called = go(programs, **fields)
    assert code == 0
    assert [name for name in called if name in again] == again
    assert set(called) - {*again} <= {"export"}  # if another network is the winner now


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("accuracy.json", "eval"),
        ("latency.json", "profile"),
        ("network.onnx", "export"),
        ("front.svg", "front"),
        ("run/weights.safetensors", "train"),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_file_that_is_not_as_it_was_left_is_made_again(
    programs: Programs, file: str, again: str, damage: str
) -> None:
    go(programs)
    path = Path("fofa-out") / file
    path.unlink() if damage == "gone" else path.write_text("something else")
    code, _, called = go(programs)
    assert (code, called) == (0, [again])


@pytest.mark.parametrize(("given", "code"), [(2, 2), (1, 1), (130, 130), (-9, 1)])
@pytest.mark.parametrize("name", ALL)
def test_stopped_anywhere_it_goes_on_from_there(
    programs: Programs, name: str, given: int, code: int
) -> None:
    programs.fails[name] = given
    ended, said, called = go(programs)
    assert ended == code
    assert called == ALL[: ALL.index(name) + 1]
    assert f"{name} " in said.splitlines()[-1]
    programs.fails.clear()
    assert go(programs)[::2] == (0, ALL[ALL.index(name) :])


def test_pretrained_weights_come_first(programs: Programs) -> None:
    code, _, called = go(programs, init="efficientnet-lite0", preset="folder", data="folder:x")
    assert (code, called) == (0, ["import", *ALL])
    words = programs.words["train"]
    assert words[words.index("--init") + 1] == "fofa-out/pretrained"
    assert words[words.index("--preset") + 1] == "folder"


def test_a_run_to_begin_from_is_not_imported(programs: Programs) -> None:
    Path("mine").mkdir()
    (Path("mine") / RECORD_NAME).touch()
    assert go(programs, init="mine")[2] == ALL
    assert programs.words["train"][-2:] == ["--init", "mine"]


def test_the_limit_is_the_middle_of_the_front_unless_one_is_set(programs: Programs) -> None:
    go(programs)
    limit = float(programs.words["search"][-1])
    front = json.loads(Path("fofa-out/front.json").read_text())["pareto"]
    assert limit == pytest.approx(front[len(front) // 2]["latency_ms"], abs=1e-3)
    go(programs, max_latency=100.0)
    assert programs.words["search"][-1] == "100.0"


@pytest.mark.parametrize("text", ["{}", "[]", '{"pareto": []}', '{"pareto": [1]}', "x"])
def test_a_front_that_is_none_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"front\.json: "):
        steps.middle_of(path)


def test_two_at_once_are_refused(programs: Programs) -> None:
    def meanwhile(words: Sequence[str], output: Path | None) -> int:
        with pytest.raises(UserError, match="another fofa run is at it"):
            go(programs)
        return 2

    assert carry_out(Config(), Console(file=io.StringIO()), meanwhile)[0] == 2


def test_the_report_and_the_verdict(programs: Programs, make_accuracy) -> None:
    config = Config(max_latency=100.0)
    code, done = carry_out(config, Console(file=io.StringIO()), programs)
    assert code == 0
    said = verdict(config)
    best = max(make_accuracy(resolutions=(24, 32)).architectures, key=lambda row: row.top1)
    assert said.startswith(f"fofa-out/network.onnx: {best.name}, {best.top1:.2f}% top-1, ")
    assert said.endswith("(measured) on cpu, limit 100 ms")
    page = write_report(config, done).read_text()
    assert f"{best.top1:.2f}%" in page
    assert f"`{best.name}`" in page
    assert "logits within 1.0e-06" in page
    for name in ALL:
        assert f"| {name} | " in page


def test_a_name_that_looks_like_markup_stays_text(programs: Programs) -> None:
    config = Config(out="a|`b`[c]")
    code, done = carry_out(config, Console(file=io.StringIO()), programs)
    assert code == 0
    row = next(
        line
        for line in write_report(config, done).read_text().splitlines()
        if line.startswith("| train |")
    )
    assert row.replace("\\|", "").count("|") == 4
