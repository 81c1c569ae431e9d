"""What tests of the library use."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _shapes_are_drawn_once() -> Iterator[None]:
    """The data set of most tests, which nothing may change, is not drawn anew for each."""
    from fofa.data import shapes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "draw_shapes", functools.cache(shapes.draw_shapes))
        yield
