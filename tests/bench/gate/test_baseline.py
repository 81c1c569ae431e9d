"""The baseline file: read back as written; whatever else is in it is one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.gate.baseline import Baseline, Tolerance, make_baseline
from bench.gate.compare import compare
from bench.tables.collect import AccuracySource, Collection, LutSource
from bench.tables.devices import WantedLimits
from fofa.accuracy import AccuracyTable
from fofa.errors import UserError
from fofa.latency import Lut

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def collection(
    make_lut: Callable[..., Lut], make_accuracy: Callable[..., AccuracyTable]
) -> Collection:
    table = make_accuracy("ofa", resolutions=(32,))
    lut = make_lut(resolutions=(128,))
    return Collection(
        accuracy=(AccuracySource(Path("ofa.json"), table),),
        luts=(LutSource(Path("lut.json"), lut),),
        accuracy_dir=Path("accuracy"),
        luts_dir=Path("luts"),
    )


@pytest.fixture(scope="module")
def baseline(collection: Collection) -> Baseline:
    return make_baseline(collection, WantedLimits(), Tolerance(accuracy_points=0.5))[0]


def paths_in(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value inside a JSON value is."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    found = [prefix] if prefix else []
    for key, inner in items:
        found += paths_in(inner, (*prefix, key))
    return found


def test_read_back_as_written(baseline: Baseline, tmp_path: Path) -> None:
    baseline.write(tmp_path / "baseline.json")
    assert Baseline.read(tmp_path / "baseline.json") == baseline
    assert json.loads((tmp_path / "baseline.json").read_text())["schema"] == "fofa.baseline/1"
    assert baseline.tolerance.accuracy_points == 0.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_change_is_read_or_refused_in_one_line(
    baseline: Baseline, collection: Collection, tmp_path: Path, data: st.DataObject
) -> None:
    content = json.loads(baseline.to_json())
    where = data.draw(st.sampled_from(paths_in(content)))
    place = content
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = data.draw(JSON)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    try:
        changed = Baseline.read(path)
    except UserError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
        return
    assert len(compare(changed, collection)) == sum(len(r.limits) for r in changed.results)


def test_versions_are_told_apart(baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "newer.json"
    path.write_text(baseline.to_json().replace("fofa.baseline/1", "fofa.baseline/2"))
    with pytest.raises(UserError, match="newer than this fofa reads"):
        Baseline.read(path)


@pytest.mark.parametrize("part", ["lut", "data"])
def test_a_width_beyond_all_numbers_is_refused(
    part: str, baseline: Baseline, tmp_path: Path
) -> None:
    content = json.loads(baseline.to_json())
    content["results"][0][part]["width_mult"] = 10**400
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"baseline\.json: .*the number 10{19}\.\.\. is out of range"
    ):
        Baseline.read(path)


def test_a_tables_own_error_is_its_mean_error_or_its_noise(make_lut: Callable[..., Lut]) -> None:
    assert make_lut(mape=2.5).error_percent == 2.5
    assert make_lut(mape=0.1).error_percent == 0.5
    assert make_lut("a100", method="estimated").error_percent is None
