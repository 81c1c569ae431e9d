"""Raw samples: nothing is lost by a kill, and nothing foreign is taken for ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from profilers.samples import (
    PartialFile,
    Round,
    SamplesFile,
    SchedulePlan,
    Visit,
    partial_path,
    read_samples,
    record_of,
    round_of,
    samples_path,
    write_samples,
)

NAMES = ["canary", "a", "b"]
PLAN = SchedulePlan(warmup_runs=2, rounds=3, canary_every=1, samples={"a": 3, "b": 3})
IDENTITY = {"device": "x", "seed": 0}


def make_round(number):
    return Round(
        number=number,
        visits=(Visit("canary", number + 0.25, (1.5, 1.25)), Visit("b", number + 0.5, (2.0,))),
        other_cpu_percent=1.0,
        state={"sm_clock_mhz": 1410},
    )


@pytest.fixture
def partial(tmp_path):
    made = PartialFile(tmp_path / "t.json.partial", NAMES)
    made.start(IDENTITY, PLAN, [])
    for number in range(3):
        made.append(make_round(number))
    return made


def test_what_was_written_is_read_back(partial):
    plan, rounds = partial.read(IDENTITY)
    assert plan == PLAN
    assert rounds == [make_round(number) for number in range(3)]


def test_no_file_is_no_measurement(tmp_path):
    assert PartialFile(tmp_path / "none.partial", NAMES).read(IDENTITY) is None


def test_a_kill_at_any_byte_loses_at_most_the_round_being_written(partial):
    whole = partial.path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0], len(whole) + 1):
        partial.path.write_bytes(whole[:cut])
        _, rounds = partial.read(IDENTITY)
        finished = sum(cut >= end - 1 for end in ends[1:])
        assert rounds == [make_round(number) for number in range(finished)]


def test_a_resumed_file_is_whole_again(partial):
    whole = partial.path.read_bytes()
    partial.path.write_bytes(whole[:-20])
    plan, rounds = partial.read(IDENTITY)
    partial.start(IDENTITY, plan, rounds)
    partial.append(make_round(2))
    assert partial.path.read_bytes() == whole


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise_than_by_a_user_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("p") / "t.partial"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t\.partial: .*--fresh discards it"):
        PartialFile(path, NAMES).read(IDENTITY)


def test_another_identity_is_refused_naming_the_difference(partial):
    with pytest.raises(UserError, match="differs in seed;"):
        partial.read(IDENTITY | {"seed": 1})


def test_an_unwritable_file_is_a_user_error(tmp_path):
    gone = PartialFile(tmp_path / "no" / "folder" / "t.partial", NAMES)
    with pytest.raises(UserError, match="cannot write"):
        gone.append(make_round(0))


def test_discarding_twice_is_fine(partial):
    partial.discard()
    partial.discard()
    assert not partial.path.exists()


def test_records_and_rounds_are_inverse():
    numbers = {name: index for index, name in enumerate(NAMES)}
    assert round_of(record_of(make_round(7), numbers), NAMES) == make_round(7)


def test_the_side_file_comes_back_and_is_reproducible(tmp_path):
    numbers = {name: index for index, name in enumerate(NAMES)}
    samples = SamplesFile(
        identity=IDENTITY, plan=PLAN, items=NAMES, rounds=[record_of(make_round(0), numbers)]
    )
    for name in ("one", "two"):
        write_samples(tmp_path / name, samples)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_samples(tmp_path / "one") == samples


@given(st.binary(max_size=200))
def test_a_damaged_side_file_is_a_user_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("s") / "t.samples.json.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t\.samples\.json\.gz"):
        read_samples(path)


def test_names_beside_the_table(tmp_path):
    out = tmp_path / "epyc.json"
    assert partial_path(out) == tmp_path / "epyc.json.partial"
    assert samples_path(out) == tmp_path / "epyc.samples.json.gz"
