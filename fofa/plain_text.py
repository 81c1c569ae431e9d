"""What goes to a terminal, a log or a CI system is text: names from files give it no orders.

Names of files, devices and recipes come from other people. In a terminal a control character moves
the cursor or hides what follows; in a log a line feed makes a line that nobody wrote; and a CI
system obeys lines such as `::stop-commands::`. `one_line` makes one line of any text, and every
program writes through a `PlainStream` (`fofa.commands.cli` sees to it), whatever wrote the line:
this project, its command-line library, a warning of another one, a traceback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TextIO

REPLACEMENT = "\ufffd"
_FORMATTING = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Moves a cursor, ends a line, or (U+202A and up) turns the direction in which text is shown."""
_NOT_IN_XML = r"\ud800-\udfff\ufffe\uffff"
_NOT_TEXT = re.compile(rf"[\t\n{_FORMATTING}{_NOT_IN_XML}]")
_NOT_LINES = re.compile(rf"(?!\r\n)[{_FORMATTING}]")
_ORDER = re.compile(r"^[^\S\n]*:(:)|#(#)\w*\[", re.MULTILINE)
"""GitHub obeys a line that begins with `::`, whatever blanks stand before; `##[group]`,
`##vso[...]` and `##teamcity[...]` are obeyed anywhere in a line."""


class OutputError(Exception):
    """What a program says cannot be written any more; `reason` is the system's.

    No `OSError`, because libraries catch those and end the program with codes of their own.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(f"cannot write to standard output: {reason.strerror or reason}")
        self.reason = reason


def one_line(text: str) -> str:
    """`text` as one line that any terminal, log and XML file takes."""
    return _NOT_TEXT.sub(REPLACEMENT, text)


def plain_lines(text: str) -> str:
    """`text` without control characters; its line feeds and tabs stay."""
    return _NOT_LINES.sub(REPLACEMENT, text)


def json_text(value: Any) -> str:
    """`value` as JSON for standard output: lines that a CI system takes for text.

    Raises:
        ValueError: for NaN and infinity, which are no JSON.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    return re.sub("#(?=#)", r"\\u0023", text)  # two of them stand in strings only


class PlainStream:
    """A text stream that everything written to `stream` goes through.

    Args:
        stream: where it goes; whatever is not about writing is left to it.
        styled: what is written has colours and cursor movements of our own in it, and names have
            been cleaned before.
    """

    def __init__(self, stream: TextIO, *, styled: bool = False) -> None:
        self.stream = stream
        self._styled = styled
        self._begun = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write `text`; the number of its characters.

        Raises:
            OutputError: if nobody reads any more, or there is no room.
        """
        self._hand_on(self._plain(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several pieces of text."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what was written.

        Raises:
            OutputError: as by `write`.
        """
        try:
            self.stream.flush()
        except OSError as error:
            raise OutputError(error) from None

    def order(self, line: str) -> None:
        """Write a line that a CI system is to obey; only what was escaped for it belongs there."""
        self._hand_on(f"{one_line(line)}\n")

    def _hand_on(self, text: str) -> None:
        try:
            self.stream.write(text)
        except OSError as error:
            raise OutputError(error) from None

    def _plain(self, text: str) -> str:
        """`text` with a blank in whatever would be an order after what was written before."""
        begun = self._begun

        def defused(order: re.Match[str]) -> str:
            at = max(order.start(order.lastindex or 0), len(begun)) - order.start()
            return f"{order[0][:at]} {order[0][at:]}"

        whole = _ORDER.sub(defused, begun + (text if self._styled else plain_lines(text)))
        self._begun = _beginning(whole[whole.rfind("\n") + 1 :])
        return whole[len(begun) :]


def _beginning(line: str) -> str:
    """As short as can be, what an order could go on from: a colon, or number signs in a line."""
    if re.fullmatch(r"\s*:?", line):
        return line.strip()
    word = re.search(r"(##?)\w*\Z", line)
    return f".{word[1] if word else ''}"
