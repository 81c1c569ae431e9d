"""What NVML tells: with a driver, without, of a slice, and by the calls of newer drivers."""

import pynvml
import pytest
from fake_gpu import FakeNvml, put

from profilers.hardware import nvml

OLD_CALLS = {"nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetTemperature"}
NEW_CALLS = {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetTemperatureV"}


@pytest.fixture
def driver(monkeypatch):
    return FakeNvml(monkeypatch)


def test_no_driver_means_no_gpus(driver):
    driver.leave()
    assert nvml.gpu_records() == []
    assert nvml.gpu_states() == []
    assert nvml.record_of("GPU-1234") is None
    assert nvml.state_of("GPU-1234") is None
    assert nvml.compute_processes() is None


def test_gpu_readings_with_one_that_the_card_does_not_offer(driver, monkeypatch):
    def missing(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    put(monkeypatch, pynvml, "nvmlDeviceGetPowerUsage", missing)
    driver.reasons = pynvml.nvmlClocksEventReasonSwPowerCap
    [record] = nvml.gpu_records()
    assert record["name"] == "NVIDIA A100-SXM4-40GB"
    assert record["compute_capability"] == "8.0"
    assert record["power_limit_w"] == 400.0
    [state] = nvml.gpu_states()
    assert state["power_w"] is None
    assert state["temperature_c"] == 31
    assert state["throttled"] is True
    assert nvml.record_of("abcd") == nvml.record_of("GPU-ABCD") == record
    assert nvml.record_of("GPU-other") is None
    assert nvml.record_of("") is None


@pytest.mark.parametrize("gone", [OLD_CALLS, NEW_CALLS])
def test_calls_that_a_driver_left_out_have_another(driver, gone):
    driver.gone = gone
    driver.reasons = 0x80
    [state] = nvml.gpu_states()
    assert (state["temperature_c"], state["throttled"]) == (31, True)


def test_calls_that_the_module_left_out_have_another(driver, monkeypatch):
    driver.gone = set()
    for name in OLD_CALLS:
        monkeypatch.delattr(pynvml, name)
    assert nvml.gpu_states()[0]["temperature_c"] == 31


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    [
        ("nvmlClocksEventReasonGpuIdle", False),
        ("nvmlClocksEventReasonApplicationsClocksSetting", False),
        ("nvmlClocksEventReasonSwPowerCap", True),
        ("nvmlClocksEventReasonSwThermalSlowdown", True),
        ("nvmlClocksThrottleReasonHwSlowdown", True),
        ("nvmlClocksThrottleReasonHwThermalSlowdown", True),
        ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", True),
    ],
)
def test_heat_and_power_slow_a_card_down_and_a_clock_that_was_set_does_not(
    driver, reasons, throttled
):
    driver.reasons = getattr(pynvml, reasons)
    assert nvml.gpu_states()[0]["throttled"] is throttled


def test_a_slice_has_its_own_name_and_the_cards_clocks(driver):
    driver.slice_uuid = "5a5a"
    record = nvml.record_of("5a5a")
    assert record["name"] == "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    assert (record["mig"], record["max_sm_clock_mhz"]) == (True, 1410)
    assert nvml.state_of("MIG-5a5a")["sm_clock_mhz"] == 1095
    assert nvml.mig_name("NVIDIA A100") == "NVIDIA A100 MIG slice"


def test_processes_are_listed_by_number(driver):
    driver.processes = [4_100_000, 7]
    assert nvml.compute_processes() == {4_100_000, 7}
    driver.elsewhere = [18]
    assert nvml.compute_processes() == {4_100_000, 7, 18}
    assert nvml.compute_processes("abcd") == {4_100_000, 7}
    assert nvml.compute_processes("no such card") is None
