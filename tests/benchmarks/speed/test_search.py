import pytest

from benchmarks.speed.search import made_up_accuracy, run
from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord, required_keys
from fofa.space import SearchSpace


def table(resolutions: tuple[int, ...]) -> Lut:
    space = SearchSpace(resolutions=resolutions)
    return Lut(
        device=DeviceRecord(requested="cpu", measured_on={}, matches=None),
        method="measured",
        protocol=ProtocolRecord(plugin="none", runtime="none", dtype=None, batch_size=1),
        space=SpaceRecord.of(space),
        entries=[
            LutEntry(
                resolution=resolution,
                position=key.position,
                stage=key.stage,
                block=key.block,
                kernel=key.kernel,
                expand=key.expand,
                latency_ms=(key.expand or 1) * resolution,
            )
            for resolution in resolutions
            for key in required_keys(space)
        ],
    )


def test_the_exact_search_is_of_972_architectures(tmp_path, capsys) -> None:
    table((128, 160, 192, 224)).write(tmp_path / "lut.json")
    run(lut=tmp_path / "lut.json", predictor=None, seeds=1)
    out = capsys.readouterr().out
    assert "exact search of 972 architectures on cpu" in out
    assert "goal 10 ms" in out


def test_a_table_with_too_few_resolutions() -> None:
    with pytest.raises(UserError, match="has 1 resolutions, expected 4"):
        made_up_accuracy(table((128,)))
