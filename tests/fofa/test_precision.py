"""One spelling of number types, and the old one still read."""

import re
from typing import get_args

import pytest

from fofa.errors import UserError
from fofa.precision import Precision, parse_precision, short_precision


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("float32", "fp32"),
        ("float16", "fp16"),
        ("bfloat16", "bf16"),
        ("int4", "int4"),
        *((name, name) for name in get_args(Precision)),
    ],
)
def test_old_words_are_read_and_others_stay(written: str, meant: str) -> None:
    assert short_precision(written) == meant


def test_an_option_takes_either_spelling() -> None:
    allowed: tuple[Precision, ...] = ("fp32", "fp16")
    assert parse_precision("fp16", allowed) == parse_precision("float16", allowed) == "fp16"


@pytest.mark.parametrize("name", ["bf16", "bfloat16", "FP32", "", "half"])
def test_an_option_refuses_others(name: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--dtype {name!r}: expected one of fp32, fp16")):
        parse_precision(name, ("fp32", "fp16"))
