"""Weights come back as they were; anything else is one clear line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fofa.errors import UserError
from fofa.supernet.model import Supernet
from fofa.supernet.weights import save_weights, supernet_of
from fofa.tensor_files import read_tensors

MakeSupernet = Callable[..., Supernet]


def load(supernet: Supernet, path: Path) -> Supernet:
    """A supernet of the same configuration with the weights of a file."""
    return supernet_of(supernet.config, read_tensors(path)[0], str(path))


def test_a_round_trip_keeps_every_bit(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    path = tmp_path / "run" / "weights.safetensors"
    supernet = make_supernet("transform").float()
    save_weights(supernet, path)
    other = load(supernet, path)
    for key, value in supernet.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_another_configuration_is_refused(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(make_supernet("transform"), path)
    with pytest.raises(UserError, match=r"left over: transforms\.0\.0\.to3.*of another shape"):
        load(make_supernet("fixed"), path)


def test_missing_keys_are_listed(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = make_supernet().state_dict()
    del state["stem.conv.weight"]
    save_file(state, path)
    with pytest.raises(UserError, match=r"missing: stem\.conv\.weight$"):
        load(make_supernet(), path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 200])
def test_a_damaged_file_is_refused(
    make_supernet: MakeSupernet, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a safetensors file"):
        load(make_supernet(), path)
    with pytest.raises(UserError, match="no such file"):
        load(make_supernet(), tmp_path / "absent")


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_integers_are_not_taken_for_weights(
    make_supernet: MakeSupernet, tmp_path: Path, dtype: torch.dtype
) -> None:
    path = tmp_path / "weights.safetensors"
    state = make_supernet().state_dict()
    state["stem.conv.weight"] = state["stem.conv.weight"].to(dtype)
    save_file(state, path)
    with pytest.raises(UserError, match=r"of another type: stem\.conv\.weight \(torch"):
        load(make_supernet(), path)


def test_a_supernet_comes_from_its_tensors(make_supernet: MakeSupernet) -> None:
    supernet = make_supernet("transform").float()
    state = {key: value.clone() for key, value in supernet.state_dict().items()}
    made = supernet_of(supernet.config, state, "here")
    for key, value in supernet.state_dict().items():
        assert torch.equal(made.state_dict()[key], value), key
        assert made.state_dict()[key].dtype == value.dtype, key
    assert made.state_dict()["stem.conv.weight"].data_ptr() != state["stem.conv.weight"].data_ptr()


def test_no_memory_is_taken_for_what_does_not_fit(make_supernet: MakeSupernet) -> None:
    """A classifier of 2^40 classes could not be made: its shape alone is compared."""
    supernet = make_supernet()
    damaged = supernet.config.model_copy(update={"num_classes": 2**40})
    with pytest.raises(UserError, match=r"head\.classifier\.bias .*expected \[1099511627776\]"):
        supernet_of(damaged, supernet.state_dict(), "run.json")
