"""A configuration whose kernels cannot serve its space is refused when it is made."""

import pytest
from pydantic import ValidationError

from fofa.supernet.config import SupernetConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "elastic"}, "an elastic supernet needs"),
        ({"kind": "elastic", "max_kernels": (7,) * 5}, "an elastic supernet needs"),
        ({"max_kernels": (7,) * 5}, "does not offer"),
        ({"max_kernels": (3,) * 5, "kernel_mode": "centre"}, "does not offer"),
        ({"max_kernels": (9,) * 5, "kernel_mode": "centre"}, "expected values of"),
    ],
)
def test_unfit_kernels(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SupernetConfig.model_validate(fields)


def test_files_keep_configurations() -> None:
    config = SupernetConfig(kind="elastic", max_kernels=(7,) * 5, kernel_mode="transform")
    assert SupernetConfig.model_validate_json(config.model_dump_json()) == config
