"""Reading less of a JPEG than there is: the rows down to a crop's lower edge, at half its scale.

Decoding is most of the time that a training image costs. A baseline JPEG stores its rows from top
to bottom, so a file that claims to be lower than it is decodes to its upper part, pixel for pixel,
and what follows is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

START, END = b"\xff\xd8", b"\xff\xd9"
BASELINE = (0xC0, 0xC1)
FRAMES = (*BASELINE, *range(0xC2, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
SCAN = 0xDA
METADATA = 0xE1
BLOCK_ROWS = 32
"""Rows of a unit at the coarsest sampling there is; the colours of one reach into the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Size and place of a JPEG's frame header.

    Attributes:
        divisible: whether the rows come from top to bottom in one scan that is all there.
        has_metadata: whether EXIF or XMP blocks stand before it.
    """

    width: int
    height: int
    height_at: int
    divisible: bool
    has_metadata: bool


def find_frame(content: bytes) -> Frame | None:
    """The frame header of a JPEG; None where it is none, or not an ordinary one."""
    if not content.startswith(START):
        return None
    at, frame, components, has_metadata = 2, None, 0, False
    while at + 9 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        length = int.from_bytes(content[at + 2 : at + 4])
        if marker == METADATA:
            has_metadata = True
        elif marker in FRAMES:
            components = content[at + 9]
            frame = Frame(
                width=int.from_bytes(content[at + 7 : at + 9]),
                height=int.from_bytes(content[at + 5 : at + 7]),
                height_at=at + 5,
                divisible=marker in BASELINE,
                has_metadata=has_metadata,
            )
        elif marker == SCAN:
            if frame is None or not frame.width or not frame.height:
                return None
            whole = content[at + 4] == components and content.rfind(END, at) > 0
            return replace(frame, divisible=frame.divisible and whole, has_metadata=has_metadata)
        at += 2 + length
    return None


def upper_part(content: bytes, frame: Frame, bottom: float) -> bytes | bytearray:
    """The JPEG cut below row `bottom`, with enough rows more that nothing above it changes."""
    rows = (int(bottom) // BLOCK_ROWS + 2) * BLOCK_ROWS
    if not frame.divisible or rows >= frame.height:
        return content
    cut = bytearray(content)
    cut[frame.height_at : frame.height_at + 2] = rows.to_bytes(2)
    return cut
