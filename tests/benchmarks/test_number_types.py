"""`python -m benchmarks.number_types`: each way has its own tables; files are measured."""

from __future__ import annotations

import pytest
from in_process import run_here
from made_up_tables import in_int8, int8_evaluation, make_accuracy, make_lut

from benchmarks import number_types
from benchmarks.number_types import SHARES, Tables, choices
from fofa.space import Architecture

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {"width_mult": 0.25, "resolutions": (24, 32)}


def fewer_for_24(network: Architecture) -> float:
    """In int8, networks at 32 px are hurt."""
    return 50 + network.subnet.depths[0] - 40 * (network.resolution == 32)


def test_each_way_is_optimal_by_the_tables_of_its_type() -> None:
    plain = Tables(make_accuracy(**SIZES), make_lut(**SIZES))
    hurt = make_accuracy(**SIZES, top1=fewer_for_24, evaluation=int8_evaluation())
    quantised = Tables(hurt, in_int8(make_lut(**SIZES, slowdown=0.5)))
    found = choices(plain, quantised)
    assert len(found) == 4 * len(SHARES)
    slow, top1 = quantised.latencies, {row.name: row.top1 for row in hurt.architectures}
    for number in range(0, len(found), 4):
        as_it_is, after, equal_time, within = found[number : number + 4]
        assert (as_it_is.dtype, after.dtype) == ("fp32", "int8")
        assert as_it_is.architecture == after.architecture
        for choice, limit in ((equal_time, slow[after.architecture]), (within, within.limit_ms)):
            best = max(top1[name] for name, latency in slow.items() if latency <= limit)
            assert top1[choice.architecture] == best
    assert any("@32" in one.architecture for one in found[1::4])
    assert all("@24" in one.architecture for one in found[2::4])


@pytest.mark.slow
def test_files_are_exported_and_timed(make_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(number_types, "SHARES", (0.5,))
    monkeypatch.setattr(number_types, "RUNS", 3)
    make_run(tmp_path / "tiny")
    tables = {
        "fp32.json": make_accuracy(**SIZES, num_classes=10),
        "int8.json": make_accuracy(**SIZES, num_classes=10, evaluation=int8_evaluation()),
        "cpu.json": make_lut(**SIZES),
        "cpu-int8.json": in_int8(make_lut(**SIZES)),
    }
    for name, table in tables.items():
        table.write(tmp_path / name)
    named = [
        "--accuracy=fp32.json",
        "--accuracy=int8.json",
        "--lut=cpu.json",
        "--lut=cpu-int8.json",
    ]
    words = ["tiny", *named, "--out", "files", "--test-images", "20"]
    done = run_here(number_types.main, "number_types", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, first, second, third, fourth = done.stdout.splitlines()
    assert [first.split()[1], fourth.split()[1]] == ["fp32", "int8"]
    assert second.split()[-2:] == third.split()[-2:]  # the same network: one file, timed once
    names = {path.name.rsplit("-", 1)[-1] for path in (tmp_path / "files").glob("*.onnx")}
    assert names == {"fp32.onnx", "int8.onnx"}
    only_fp32 = [word for word in words if "int8" not in word]
    refused = run_here(number_types.main, "number_types", *only_fp32, cwd=tmp_path)
    assert refused.returncode == 2
    assert "once of fp32, once of int8" in refused.stderr
