"""The environment record and the live state, with and without a driver."""

import json
import subprocess
import sys
import time

import pynvml
import pytest
from waiting import PATIENCE_SECONDS

from profilers.hardware import environment, nvml


def test_environment_is_plain_json_and_names_the_cpu_and_the_versions():
    captured = environment.capture_environment()
    assert json.loads(json.dumps(captured, allow_nan=False)) == captured
    assert captured["cpu"]["model"]
    assert 1 <= captured["cpu"]["allowed_cores"] <= captured["cpu"]["logical_cores"]
    assert captured["versions"]["python"] == sys.version.split()[0]
    assert captured["versions"]["onnxruntime"]


def test_environment_names_no_person_or_machine():
    import getpass
    import platform

    text = json.dumps(environment.capture_environment() | environment.live_state(0.01))
    assert f'"{platform.node()}"' not in text
    assert f'"{getpass.getuser()}"' not in text


def test_live_state_sees_another_process_work_and_not_its_own_children():
    spin = "import time\nend = time.time() + 300\nwhile time.time() < end: pass"
    # A grandchild whose parent has gone is no longer ours.
    start = (
        "import subprocess, sys; "
        f"print(subprocess.Popen([sys.executable, '-c', {spin!r}], stdout=subprocess.DEVNULL).pid)"
    )
    pid = int(subprocess.check_output([sys.executable, "-c", start], timeout=PATIENCE_SECONDS))
    child = subprocess.Popen([sys.executable, "-c", spin])
    try:
        time.sleep(0.3)
        state = environment.live_state(0.5)
    finally:
        child.kill()
        child.wait()
        subprocess.run(["kill", str(pid)], check=True)
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert state["busy_processes"] >= 1
    assert state["other_cpu_percent"] > environment.BUSY_PERCENT


def test_own_children_do_not_count_as_others():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        assert child.pid in environment._own_processes()
    finally:
        child.kill()
        child.wait()


def test_no_driver_means_no_gpus(monkeypatch):
    def fail():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert nvml.gpu_records() == []
    assert nvml.gpu_states() == []
    assert nvml.index_of("GPU-1234") is None


@pytest.fixture
def fake_driver(monkeypatch):
    """A driver with one card that does not report its power."""

    class Memory:
        total = 40 * 2**30

    class Use:
        gpu = 7

    class Process:
        pid = -1

    def missing(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    readings = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: "card",
        "nvmlDeviceGetUUID": lambda card: "GPU-ABCD",
        "nvmlDeviceGetName": lambda card: b"NVIDIA A100-SXM4-40GB",
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetCudaComputeCapability": lambda card: (8, 0),
        "nvmlDeviceGetMemoryInfo": lambda card: Memory,
        "nvmlDeviceGetMaxClockInfo": lambda card, clock: 1410,
        "nvmlDeviceGetEnforcedPowerLimit": lambda card: 400_000,
        "nvmlDeviceGetUtilizationRates": lambda card: Use,
        "nvmlDeviceGetComputeRunningProcesses": lambda card: [Process],
        "nvmlDeviceGetClockInfo": lambda card, clock: 1095,
        "nvmlDeviceGetTemperature": lambda card, sensor: 31,
        "nvmlDeviceGetPowerUsage": missing,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: (
            pynvml.nvmlClocksThrottleReasonSwPowerCap
        ),
    }
    for name, reading in readings.items():
        monkeypatch.setattr(pynvml, name, reading)


def test_gpu_readings_with_one_that_the_card_does_not_offer(fake_driver):
    [record] = nvml.gpu_records()
    assert record["name"] == "NVIDIA A100-SXM4-40GB"
    assert record["compute_capability"] == "8.0"
    assert record["power_limit_w"] == 400.0
    [state] = nvml.gpu_states()
    assert state["power_w"] is None
    assert state["temperature_c"] == 31
    assert state["throttled"] is True
    assert state["foreign_processes"] == 1
    assert nvml.index_of("abcd") == 0
    assert nvml.index_of("GPU-other") is None
