import numpy as np
import pytest

from fofa.accuracy import ProxyRecord
from fofa.errors import UserError
from fofa.search.pairing import measured, pair, pair_predictor, predict_compound
from fofa.space import macs, parse_architecture


def test_rows_hold_both_tables_numbers(make_lut, make_accuracy) -> None:
    lut, accuracy = make_lut(), make_accuracy()
    rows = pair(lut, accuracy)
    assert len(rows) == 2 * 243
    assert rows.notes == ()
    for row in (0, 100, 400):
        architecture = rows.architectures[row]
        assert rows.latency_ms[row] == pytest.approx(lut.latency_ms(architecture))
        assert rows.top1[row] == accuracy.architectures[row].top1
        assert rows.macs[row] == macs(architecture)


def test_some_resolutions_only(make_lut, make_accuracy) -> None:
    rows = pair(make_lut(), make_accuracy(), resolutions=[160])
    assert {a.resolution for a in rows.architectures} == {160}
    with pytest.raises(UserError, match=r"\[192\] are not in the accuracy table"):
        pair(make_lut(), make_accuracy(), resolutions=[192])


@pytest.mark.parametrize(
    ("lut", "accuracy"),
    [
        ({"width_mult": 1.2}, {}),
        ({"resolutions": (160, 192)}, {}),
        ({"resolutions": (192, 224)}, {}),
    ],
)
def test_what_does_not_fit_is_refused_naming_both_sides(
    make_lut, make_accuracy, lut, accuracy
) -> None:
    with pytest.raises(UserError, match="latency table of cpu and accuracy table of fofa-n3"):
        pair(make_lut(**lut), make_accuracy(**accuracy))


def test_a_published_table_is_paired_and_announced(make_lut, make_accuracy) -> None:
    lut = make_lut(method="published", device="note10", width_mult=1.2, resolutions=(160,))
    rows = pair(lut, make_accuracy())
    assert {a.resolution for a in rows.architectures} == {160}
    assert any("width 1.2" in note for note in rows.notes)
    assert any("no 128 px" in note for note in rows.notes)


def test_a_declared_stand_in_is_timed_at_the_larger_size_and_announced(
    make_lut, make_accuracy
) -> None:
    proxy = ProxyRecord(resolution_scale=4, reason="a CPU's budget")
    lut = make_lut()
    rows = pair(lut, make_accuracy(resolutions=(32, 40), proxy=proxy))
    assert rows.architectures[0].resolution == 32
    assert rows.timed_as[0].resolution == 128
    assert rows.latency_ms[0] == pytest.approx(lut.latency_ms(rows.timed_as[0]))
    assert any("stands in for" in note for note in rows.notes)
    with pytest.raises(UserError, match="do not fit"):
        pair(lut, make_accuracy(resolutions=(32, 40)))


def test_without_a_latency_table_there_is_no_latency(make_accuracy) -> None:
    rows = measured(make_accuracy(), resolutions=[128])
    assert len(rows) == 243
    assert np.isnan(rows.latency_ms).all()


def test_predicted_rows(make_lut, make_predictor) -> None:
    lut, predictor = make_lut(kind="elastic"), make_predictor(resolutions=(128, 160, 192))
    pairing = pair_predictor(lut, predictor)
    assert pairing.resolutions == (128, 160)
    rows = predict_compound(lut, predictor, pairing)
    place = rows.architectures.index(parse_architecture("23432@160"))
    assert rows.latency_ms[place] == pytest.approx(lut.latency_ms(rows.architectures[place]))
    assert rows.macs[place] == macs(rows.architectures[place])


def test_a_predictor_is_paired_by_the_same_rules(make_lut, make_predictor) -> None:
    predictor = make_predictor(resolutions=(128, 160))
    with pytest.raises(UserError, match=r"width 1\.2 and width 1"):
        pair_predictor(make_lut(width_mult=1.2), predictor)
    published = make_lut(width_mult=1.2, method="published")
    assert any("width 1.2" in note for note in pair_predictor(published, predictor).notes)
    with pytest.raises(UserError, match="do not fit"):
        pair_predictor(make_lut(resolutions=(192,)), predictor)
    with pytest.raises(UserError, match="do not fit"):
        pair_predictor(make_lut(resolutions=(160,)), predictor, resolutions=[128, 160])
