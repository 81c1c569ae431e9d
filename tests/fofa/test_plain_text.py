"""Names from files give a terminal, a log or a CI system no orders."""

import io
import json
import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.plain_text import OutputError, PlainStream, json_text, one_line

HOSTILE = [
    "a\n::stop-commands::x",
    "a\r::set-env name=PATH::/tmp",
    "\x1b[2J\x1b]0;title\x07",
    "##[error]none",
    "x ##vso[task.complete]",
    "\u202egnp.exe",
    "\x9b31m",
    "\u2028::debug::",
]
NAMES = st.text(st.sampled_from("a: #[]\t\n\r\x1b\x07\x85\u2028\u202e0mé"), max_size=12)


def obeyed(text: str) -> list[str]:
    """Lines of a log that a CI system takes for orders, and lines that move a terminal's cursor."""
    return [
        line
        for line in re.split(r"[\r\n]", text)
        if line.strip().startswith("::")
        or re.search(r"##\w*\[", line)
        or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", line)
    ]


def written(*pieces: str) -> str:
    below = io.StringIO()
    stream = PlainStream(below)
    for piece in pieces:
        stream.write(piece)
    return below.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_would_be_obeyed_and_is_not(name: str) -> None:
    assert obeyed(name)
    assert not obeyed(written(name))
    assert not obeyed(written(f"{name} is a device\n"))


@given(st.lists(NAMES, max_size=5))
def test_no_order_gets_through_in_however_many_pieces(pieces: list[str]) -> None:
    assert not obeyed(written(*pieces))


@given(NAMES)
def test_a_line_is_one_line(name: str) -> None:
    assert len(f"{one_line(name)}.".splitlines()) == 1
    assert len(str(UserError(f"{name}: wrong")).splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(UserError(f"{name}: wrong")))


@pytest.mark.parametrize(
    "text", ["fofa::bench", "a: b\n  c: d\n", "# a ## b [c]\n", "é ± 3\t4\r\n"]
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert written(text) == text


def test_a_line_that_was_begun_before_is_no_new_one() -> None:
    assert written("label ", "::x::\n") == "label ::x::\n"
    assert written("label\n", "  ", "::x::\n") == "label\n  : :x::\n"


@given(st.recursive(NAMES | st.integers(), lambda inner: st.dictionaries(NAMES, inner)))
def test_json_keeps_its_values_and_gives_no_orders(value: object) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert not obeyed(text)


def test_only_what_was_made_as_an_order_is_one() -> None:
    below = io.StringIO()
    PlainStream(below).order("::error title=fofa::50 ms\n::stop-commands::x")
    assert below.getvalue() == "::error title=fofa::50 ms\ufffd::stop-commands::x\n"


@pytest.mark.parametrize("fault", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space")])
def test_output_that_is_lost_is_told_apart_from_other_files(fault: OSError) -> None:
    class Lost(io.StringIO):
        def write(self, text: str) -> int:
            raise fault

    with pytest.raises(OutputError, match="cannot write to standard output") as caught:
        PlainStream(cast(io.StringIO, Lost())).write("x")
    assert caught.value.reason is fault
