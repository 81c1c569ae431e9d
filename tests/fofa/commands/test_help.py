"""One vocabulary: every option stands in a group, and other programs' words for it are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from console_scripts import PROGRAMS, module_of

from fofa.commands.cli import make_app
from fofa.commands.help import EXIT_CODES, GROUP_OF, OPTION_GROUPS, ending


def commands(command: Any) -> Iterator[Any]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield command
        return
    for one in inner.values():
        yield from commands(one)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_option_is_a_word_of_the_vocabulary(name: str) -> None:
    for command in commands(typer.main.get_command(module_of(name).app)):
        for param in command.params:
            if param.param_type_name == "option":
                assert set(param.opts) & GROUP_OF.keys(), f"{name}: {param.opts} is in no group"
                assert param.help, f"{name}: {param.opts} says nothing of itself"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_help_has_examples_of_its_own_program(name: str) -> None:
    for command in commands(typer.main.get_command(module_of(name).app)):
        assert command.epilog is not None
        examples = command.epilog.partition(EXIT_CODES)[0].splitlines()[2:]
        assert any(line.strip().startswith(name) for line in examples if line.strip()), name


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", PROGRAMS)
def test_help_fits_the_terminal(
    name: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Command lines to copy are as long as they are; names of options and programs are whole."""
    monkeypatch.setenv("COLUMNS", str(width))
    command = typer.main.get_command(module_of(name).app)
    for words in ([], *([one] for one in getattr(command, "commands", ()))):
        with pytest.raises(SystemExit):
            command(args=[*words, "--help"], prog_name=name)
        said = capsys.readouterr().out
        examples, _, rest = said.partition("\n  Exit codes:")
        lines = [*examples.partition("\n  Examples:")[0].splitlines(), *rest.splitlines()]
        assert max(map(len, lines)) <= width
        assert not [line for line in lines if line.endswith("-")]
        usage = next(place for place, line in enumerate(lines) if not line)
        assert not [line for line in lines[usage:] if line.endswith("...")]
        assert "list[" not in said
        assert "range>" not in said


def test_the_groups_do_not_overlap() -> None:
    assert sum(len(text.split()) for text in OPTION_GROUPS.values()) == len(GROUP_OF)


@pytest.fixture
def app() -> typer.Typer:
    """A program with a run by place, a number type and a budget."""
    program = make_app("A program.")

    @program.command(epilog=ending("program runs/mine", "program runs/mine --dtype fp16"))
    def command(run: str, dtype: str = "fp32", budget: float | None = None) -> None:
        print(run, dtype, budget)

    return program


def call(app: typer.Typer, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        app(args=list(words), prog_name="program")
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("here", "here fp32 None"),
        ("--run here", "here fp32 None"),
        ("--run=here --budget 1", "here fp32 1.0"),
        ("here --precision fp16", "here fp16 None"),
        ("here --precision=fp16", "here fp16 None"),
        ("--dtype int8 -- --run", "--run int8 None"),
    ],
)
def test_words_of_other_programs(
    words: str, printed: str, app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(app, *words.split(), capsys=capsys) == f"{printed}\n"


def test_help_in_groups_with_examples_as_written(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(app, "--help", capsys=capsys)
    places = [said.index(f"\n{heading}:\n") for heading in ("Arguments", "Networks", "Schedule")]
    assert places == sorted(places)
    assert said.index("--dtype") < places[2] < said.index("--budget") < said.index("--version")
    assert "    program runs/mine\n    program runs/mine --dtype fp16\n" in said
    assert "Exit codes: 0 done" in said
