import pytest

from benchmarks.speed.search import made_up_accuracy, run
from fofa.errors import UserError


def test_the_exact_search_is_of_972_architectures(make_lut, tmp_path, capsys) -> None:
    make_lut(resolutions=(128, 160, 192, 224)).write(tmp_path / "lut.json")
    run(lut=tmp_path / "lut.json", predictor=None, seeds=1)
    out = capsys.readouterr().out
    assert "exact search of 972 architectures on cpu" in out
    assert "goal 10 ms" in out


def test_a_table_with_too_few_resolutions(make_lut) -> None:
    with pytest.raises(UserError, match="has 1 resolutions, expected 4"):
        made_up_accuracy(make_lut(resolutions=(128,)))
