"""Raw samples: nothing is lost by a kill, and nothing foreign is taken for ours."""

import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fofa.errors import UserError
from profilers.measuring.samples import (
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
        visits=(
            Visit("canary", number + 0.25, (1.5, 1.25)),
            Visit("b", number + 0.5, (2.0, 2.25, 2.5)),
            Visit("a", number + 0.75, (3.0, 3.25, 3.5)),
        ),
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


def set_sample(value):
    def damage(record):
        record["visits"][1][2][0] = value

    return damage


def drop_samples(record):
    record["visits"][1][2] = []


def drop_one_sample(record):
    record["visits"][1][2].pop()


def drop_item(record):
    del record["visits"][1]


def name_unknown_item(record):
    record["visits"][1][0] = 3


def renumber(record):
    record["round"] = 7


def hide_a_nan(record):
    record["state"]["sm_clock_mhz"] = float("nan")


DAMAGES = {
    "zero": (set_sample(0.0), r"visits\[1\]\[2\]\[0\]: Input should be greater than 0"),
    "negative": (set_sample(-2.5), r"visits\[1\]\[2\]\[0\]: Input should be greater than 0"),
    "nan": (set_sample(float("nan")), "NaN"),
    "text": (set_sample("2.5"), r"visits\[1\]\[2\]\[0\]: "),
    "no sample": (drop_samples, r"visits\[1\]\[2\]: "),
    "a sample less": (drop_one_sample, "2 runs of b, planned 3"),
    "an item less": (drop_item, "never visits b"),
    "another item": (name_unknown_item, "visits item 3 of 3"),
    "another round": (renumber, "it says that it is round 7"),
    "state": (hide_a_nan, "NaN"),
}


@pytest.mark.parametrize("round_", [0, 1, 2])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_round_is_refused_wherever_it_is(partial, damage, round_):
    """Not dropped in silence, as a line that a kill cut short: what follows it was measured."""
    change, message = DAMAGES[damage]
    lines = partial.path.read_text().split("\n")
    record = json.loads(lines[1 + round_])
    change(record)
    lines[1 + round_] = json.dumps(record)
    partial.path.write_text("\n".join(lines))
    expected = rf"partial: damaged in round {round_} \(.*{message}.*\); --fresh discards it$"
    with pytest.raises(UserError, match=expected):
        partial.read(IDENTITY)
    partial.path.write_text("\n".join(lines[: 2 + round_]))  # the same without a last newline
    with pytest.raises(UserError, match=expected):
        partial.read(IDENTITY)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"a": 3}, "plans other items"),
        ({"a": 3, "b": 0}, r"samples\.b"),
        ({"a": 3, "b": 3, "c": 3}, "plans other items"),
    ],
)
def test_a_plan_of_other_items_is_refused(partial, samples, message):
    header, *rounds = partial.path.read_text().split("\n")
    damaged = json.loads(header)
    damaged["plan"]["samples"] = samples
    partial.path.write_text("\n".join([json.dumps(damaged), *rounds]))
    with pytest.raises(UserError, match=rf"t\.json\.partial: .*{message}.*--fresh discards it"):
        partial.read(IDENTITY)


def test_more_rounds_than_planned_are_refused(partial):
    partial.append(make_round(3))
    with pytest.raises(UserError, match="more rounds than planned"):
        partial.read(IDENTITY)


@pytest.mark.parametrize("sample", [0.0, -1.0, 4e-7])
def test_a_timer_that_says_no_time_is_a_user_error(partial, sample):
    broken = replace(make_round(3), visits=(Visit("a", 1.0, (2.0, sample)),))
    before = partial.path.read_bytes()
    with pytest.raises(UserError, match=r"timer gave .* ms for a"):
        partial.append(broken)
    assert partial.path.read_bytes() == before


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


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"another round"}))
def test_a_side_file_with_a_damaged_round_is_refused(tmp_path, damage):
    numbers = {name: index for index, name in enumerate(NAMES)}
    records = [record_of(make_round(0), numbers)]
    samples = SamplesFile(identity=IDENTITY, plan=PLAN, items=NAMES, rounds=records)
    content = samples.model_dump(by_alias=True, mode="json")
    DAMAGES[damage][0](content["rounds"][0])
    path = tmp_path / "t.samples.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(UserError, match=r"t\.samples\.json\.gz: .*(round|NaN)"):
        read_samples(path)


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
