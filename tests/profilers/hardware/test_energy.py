"""Counters of energy: a made-up powercap folder, and NVML as its module has it."""

import pytest
from fake_gpu import FakeNvml

from fofa.errors import UserError
from profilers.hardware.cuda import CudaDevice
from profilers.hardware.energy import gpu_counter, processor_counter

FULL = 262_143_328_850
ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "dram",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
    "intel-rapl-mmio:0": "package-0",
}


@pytest.fixture
def powercap(tmp_path):
    """The folder of a machine with two packages, each of which has counted 5 J."""
    for zone, name in ZONES.items():
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{FULL}\n")
        (folder / "energy_uj").write_text("5000000\n")
    return tmp_path


def test_packages_are_added_up_and_their_parts_are_not(powercap):
    with processor_counter(powercap) as counter:
        assert counter.source == "RAPL package-0, package-1"
        before = counter.joules()
        (powercap / "intel-rapl:0" / "energy_uj").write_text("5250000")
        (powercap / "intel-rapl:1" / "energy_uj").write_text("5500000")
        for zone in ("intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"):
            (powercap / zone / "energy_uj").write_text("9000000")
        assert counter.joules() - before == pytest.approx(0.75)


def test_a_counter_that_was_full_and_began_anew_goes_on(powercap):
    file = powercap / "intel-rapl:0" / "energy_uj"
    file.write_text(str(FULL - 1_000_000))
    with processor_counter(powercap) as counter:
        before = counter.joules()
        for shown in (FULL - 500_000, 500_000, 2_000_000, 1_000_000):
            file.write_text(str(shown))
            after = counter.joules()
        assert after - before == pytest.approx(3 + (FULL - 1_000_000) / 1e6)


def test_what_cannot_be_read_is_one_line(powercap, tmp_path, monkeypatch):
    def refused(folder):
        with pytest.raises(UserError) as caught, processor_counter(folder):
            pass
        assert str(caught.value).isprintable()
        return str(caught.value)

    assert "no RAPL package here" in refused(tmp_path / "none")
    file = powercap / "intel-rapl:0" / "energy_uj"
    file.write_text("-1\n")
    assert f"{file}: '-1'" in refused(powercap)
    file.unlink()
    assert f"{file}: No such file" in refused(powercap)
    file.write_text("1")
    read = type(file).read_text

    def only_root(path, *args, **kwargs):
        if path == file:
            raise PermissionError(13, "Permission denied")
        return read(path, *args, **kwargs)

    monkeypatch.setattr(type(file), "read_text", only_root)
    assert f"only root may read {file}" in refused(powercap)


def test_a_gpu_counts_in_millijoules(monkeypatch):
    driver = FakeNvml(monkeypatch)
    with gpu_counter("abcd") as counter:
        before = counter.joules()
        driver.energy_mj += 1500
        assert counter.joules() - before == pytest.approx(1.5)
    driver.gone = {"nvmlDeviceGetTotalEnergyConsumption"}
    with pytest.raises(UserError, match="from Volta on"), gpu_counter("abcd"):
        pass
    driver.gone = set()
    driver.slice_uuid = "abcd"
    with pytest.raises(UserError, match="not of slices"), gpu_counter("abcd"):
        pass
    driver.leave()
    with pytest.raises(UserError, match="NVML"), gpu_counter("abcd"):
        pass


def test_runs_that_are_prepared_by_work_are_not_counted(monkeypatch):
    FakeNvml(monkeypatch)
    with CudaDevice(0, "abcd", None).energy() as counter:
        assert counter.joules() == 1e6
    for chosen in ({"hides_launches": True}, {"flush": object()}):
        with pytest.raises(UserError, match="launch=included --option l2=warm"):
            CudaDevice(0, "abcd", None, **chosen).energy()
