"""Names parse back to the same value; a wrong one gets an error that shows a right one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from fofa.space import (
    Architecture,
    BlockChoice,
    Subnet,
    compound_subnets,
    parse_architecture,
    parse_subnet,
    sample_elastic,
)

blocks = st.builds(BlockChoice, st.sampled_from((3, 5, 7)), st.sampled_from((3, 4, 6)))
stages = st.lists(blocks, min_size=2, max_size=4).map(tuple)
subnets = st.tuples(*[stages] * 5).map(Subnet)


@given(subnets, st.integers(min_value=8, max_value=4096))
def test_elastic_name_parses_back(subnet: Subnet, resolution: int) -> None:
    architecture = Architecture(subnet, resolution)
    assert parse_architecture(architecture.name) == architecture
    assert parse_subnet(subnet.name) == subnet


def test_every_compound_name_is_its_depths_and_parses_back() -> None:
    names = [subnet.name for subnet in compound_subnets()]
    assert len(set(names)) == 243
    assert names == sorted(names)
    assert names[0] == "22222"
    assert [parse_subnet(name) for name in names] == list(compound_subnets())


def test_long_form_of_a_compound_subnet_is_the_same_value() -> None:
    subnet = parse_subnet("23432")
    long_form = "-".join("+".join(str(block) for block in blocks) for blocks in subnet.stages)
    assert parse_subnet(long_form) == subnet
    assert parse_subnet(long_form).name == "23432"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "@",
        "23432",
        "23432@",
        "@160",
        "2343@160",
        "234322@160",
        "53432@160",
        "23432@0160",
        "23432@-160",
        "23432@1e3",
        "23432@160@160",
        "23432 @160",
        "２３４３２@160",
        "3x4@160",
        "3x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4@192",
        "3x4-5x6+5x6-3x3+3x3-3x3+3x3-3x3+3x3@192",
        "3x5+5x6-7x3+3x3-3x6+3x6-5x4+5x4-7x6+3x3@192",
        "9x4+5x6-7x3+3x3-3x6+3x6-5x4+5x4-7x6+3x3@192",
    ],
)
def test_wrong_name_shows_a_right_one(name: str) -> None:
    with pytest.raises(UserError, match=r"23432@160.*3x4\+5x6"):
        parse_architecture(name)


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused_in_one_line(text: str) -> None:
    try:
        architecture = parse_architecture(text)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert parse_architecture(architecture.name) == architecture


def test_is_compound_only_inside_the_compound_space() -> None:
    assert parse_subnet("44444").is_compound
    assert not Subnet.uniform(kernel=7, depth=4, expand=6).is_compound
    rng = random.Random(0)
    assert not any(sample_elastic(rng).is_compound for _ in range(200))
