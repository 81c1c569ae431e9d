"""Families in files: named or embedded, read from YAML, refused in one line."""

from __future__ import annotations

import pytest
import yaml
from families import CUSTOM, custom_family

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.families import find_family, read_family
from fofa.space import FAMILIES, PROXYLESS, SearchSpace, Subnet
from fofa.supernet.config import SupernetConfig


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_that_come_along_are_found_by_name(name):
    assert find_family(name).name == name


def test_a_family_of_one_s_own_is_read_from_yaml(tmp_path):
    family = custom_family(tmp_path)
    assert family.name == "own-net"
    assert find_family(str(tmp_path / "own.yaml")) == family
    assert Subnet.compound((3, 2), family).name == "32"
    assert family.stages[0].depths == (1, 2, 3)
    assert (family.padding, family.unscaled, family.norm_eps) == ("tensorflow", ("head",), 0.002)


def test_files_name_a_family_or_hold_it_and_leave_out_the_usual_one(tmp_path):
    own = custom_family(tmp_path)
    for family, stored in ((PROXYLESS, "proxyless"), (own, yaml.safe_load(CUSTOM))):
        for model in (
            SpaceRecord.of(SearchSpace(family=family)),
            SupernetConfig(family=family, width_mult=0.5),
        ):
            data = model.model_dump(mode="json")
            if isinstance(stored, str):
                assert data["family"] == stored
            else:
                assert data["family"]["stages"][1]["compound"] == [[2, 2], [3, 3]]
            assert type(model).model_validate_json(model.model_dump_json(), strict=True) == model
    assert "family" not in SpaceRecord.of(SearchSpace()).model_dump(mode="json")
    assert "family" not in SupernetConfig().model_dump_json()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "proxyless", "proxyless is another family"),
        ("name", "Own Net", "name: expected a small letter"),
        ("norm_eps", 0, "norm_eps: 0"),
        ("padding", "valid", "field padding"),
        ("kernels", [3, 4], r"kernels: \[3, 4\]"),
        ("expands", [4, 2], "expands"),
        ("stages", [], "stages: expected 1 to 12"),
        ("colour", "red", "field colour"),
        ("head", {"channels": 64}, "field head.activation"),
        ("head", {"channels": 10**9, "activation": "relu"}, "head.channels: 1000000000, expected"),
        ("stem", {"channels": 16, "activation": "gelu"}, "field stem.activation"),
        ("stem", {"channels": 16, "activation": "relu", "stride": 3}, "stem.stride: 3"),
        ("unscaled", ["tail"], "field unscaled"),
    ],
)
def test_a_fault_is_one_clear_line(tmp_path, field, value, message):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(CUSTOM) | {field: value}))
    with pytest.raises(UserError, match=message) as caught:
        read_family(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"stride": 4}, r"stages\[0\].stride: 4"),
        ({"kernel": 7}, r"stages\[0\].kernel: 7, expected one of the family's \[3, 5\]"),
        ({"compound": [[3, 4], [1, 2]]}, r"stages\[0\].compound"),
        ({"compound": [[1, 9]]}, r"compound: expands \[9\]"),
        ({"compound": [[1, 2], [12, 4]]}, "depths"),
        ({"compound": [[1]]}, r"field stages\[0\].compound"),
        ({"channels": 0}, r"stages\[0\].channels: 0"),
    ],
)
def test_a_fault_in_a_stage_names_the_stage(tmp_path, stage, message):
    content = yaml.safe_load(CUSTOM)
    content["stages"][0] |= stage
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=message):
        read_family(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a YAML mapping"),
        ("name: [", "not YAML"),
        ("!!python/object:os.system x", "not YAML"),
        ("x" * 200_000, "too large"),
    ],
)
def test_what_is_no_family_is_refused(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_family(path)
    with pytest.raises(UserError, match="expected one of mobilenetv3, proxyless"):
        find_family("resnet")
    with pytest.raises(UserError, match="cannot read"):
        find_family("nothing.yaml")
