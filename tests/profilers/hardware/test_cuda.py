"""Which GPUs a build of torch can use, and how time is taken on one, on a GPU that is simulated."""

import os
from pathlib import Path

import pytest
import torch
from fake_gpu import CLOCK_HZ, FakeCuda, FakeNvml, put

from fofa.errors import UserError
from profilers.hardware import cuda as cuda_device
from profilers.hardware import nvml
from profilers.hardware.cuda import (
    CUDA_12_6_INDEX,
    CUDA_12_6_TORCH,
    Backlog,
    gpu_availability,
    open_gpu,
    unsupported_gpu,
)
from profilers.hardware.devices import find_device

CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
CUDA_12_6 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]


def fault(capability, arch_list):
    return unsupported_gpu(capability, arch_list, torch_version="2.15.0", cuda_version="13.2")


@pytest.mark.parametrize(
    ("capability", "arch_list"),
    [
        ((8, 0), CUDA_13),
        ((8, 9), CUDA_13),
        ((9, 0), CUDA_13),
        ((12, 1), CUDA_13),
        ((6, 0), CUDA_12_6),
        ((6, 1), CUDA_12_6),
        ((9, 0), ["sm_90a"]),
        ((12, 1), ["sm_120f"]),
        ((13, 0), ["sm_80", "compute_80"]),
    ],
)
def test_supported(capability, arch_list):
    assert fault(capability, arch_list) is None


@pytest.mark.parametrize(
    ("capability", "arch_list", "advice"),
    [
        ((6, 1), CUDA_13, "install the CUDA 12.6 build of torch: pip install 'torch>=2.6,<2.15'"),
        ((6, 0), CUDA_13, "/whl/cu126"),
        ((7, 0), CUDA_13, "CUDA 12.6 build"),
        ((3, 5), CUDA_12_6, "no build of torch >= 2.6 supports"),
        ((10, 0), CUDA_12_6, "install the newest build of torch"),
        ((7, 5), ["sm_80"], "install the newest build of torch"),
        ((9, 1), ["sm_90a"], "install the newest build of torch"),
        ((10, 0), ["sm_120f"], "install the newest build of torch"),
        ((8, 0), [], "install the newest build of torch"),
        ((8, 0), ["gfx90a", "sm_"], "install the newest build of torch"),
    ],
)
def test_unsupported_names_the_gpu_and_the_build_to_install(capability, arch_list, advice):
    message = fault(capability, arch_list)
    assert "{}.{}".format(*capability) in message
    assert advice in message


def test_the_documents_give_the_same_advice():
    text = (Path(__file__).parents[3] / "docs" / "add-a-device.md").read_text("utf-8")
    command = f"pip install '{CUDA_12_6_TORCH}' torchvision --index-url {CUDA_12_6_INDEX}"
    assert command in text
    assert command in fault((6, 1), CUDA_13)


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(nvml, "gpu_records", list)
    monkeypatch.setattr(cuda_device, "has_driver", lambda: False)
    assert not gpu_availability().available
    with pytest.raises(UserError, match="no NVIDIA GPU or driver found"):
        open_gpu()


@pytest.fixture
def pascal(monkeypatch):
    """A Pascal card under a driver, met by the installed build of torch."""
    FakeCuda(monkeypatch, name="NVIDIA GeForce GTX 1080 Ti", capability=(6, 1))
    FakeNvml(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    put(monkeypatch, torch.cuda, "get_arch_list", lambda: CUDA_13)
    return torch


def test_opening_a_pascal_card_with_a_cuda_13_torch_names_the_build(pascal):
    with pytest.raises(UserError, match=r"compute capability 6\.1.*CUDA 12\.6 build"):
        open_gpu()


def test_a_torch_without_cuda_and_a_driver_too_old_are_told_apart(pascal, monkeypatch):
    monkeypatch.setattr(pascal.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a newer driver"):
        open_gpu()
    monkeypatch.setattr(pascal.version, "cuda", None)
    with pytest.raises(UserError, match="build without CUDA"):
        open_gpu()


@pytest.fixture
def cuda(monkeypatch):
    return FakeCuda(monkeypatch)


@pytest.fixture
def driver(monkeypatch):
    return FakeNvml(monkeypatch)


def network_of(cuda, *, kernels, kernel_us, launch_us):
    """Work whose kernels the host launches one by one."""

    def work():
        for _ in range(kernels):
            cuda.timeline.queue(kernel_us / 1e6, launch=launch_us / 1e6)

    return work


def test_on_an_idle_gpu_the_hosts_launches_are_in_the_time_and_hidden_they_are_not(cuda, driver):
    work = network_of(cuda, kernels=60, kernel_us=2, launch_us=5)
    included = open_gpu().time(work, Backlog())
    assert included == pytest.approx(60 * 5e-3 + 2e-3)
    assert cuda.slept == []
    hidden = open_gpu(launch="hidden").time(work, Backlog())
    assert hidden == pytest.approx(60 * 2e-3)
    assert cuda.slept[-1] / CLOCK_HZ > 60 * 5e-6


def test_the_backlog_is_learned_once_for_each_work(cuda, driver):
    device, backlog = open_gpu(launch="hidden"), Backlog()
    work = network_of(cuda, kernels=60, kernel_us=2, launch_us=50)
    for _ in range(20):
        assert device.time(work, backlog) == pytest.approx(60 * 2e-3)
    tries = len(cuda.slept)
    assert device.time(work, backlog) == pytest.approx(60 * 2e-3)
    assert len(cuda.slept) == tries + 1
    assert backlog.seconds < 4 * 60 * 50e-6
    assert Backlog().seconds < backlog.seconds


def test_one_hiccup_of_the_host_does_not_lengthen_the_backlog(cuda, driver):
    device, backlog = open_gpu(launch="hidden"), Backlog()
    delays = iter([0.01, 0.0, 0.01, 0.0])

    def work():
        cuda.timeline.queue(1e-4, launch=next(delays))

    assert [device.time(work, backlog) for _ in range(2)] == pytest.approx([0.1, 0.1])
    assert backlog == Backlog()


def test_work_that_waits_for_itself_cannot_be_hidden_and_says_so(cuda, driver):
    def work():
        cuda.timeline.queue(1e-4)
        cuda.timeline.wait()

    with pytest.raises(UserError, match=r"cannot be hidden.*--option launch=included"):
        open_gpu(launch="hidden").time(work, Backlog())


@pytest.mark.parametrize("launch", ["hidden", "included"])
def test_emptying_the_cache_is_not_timed(cuda, driver, launch, monkeypatch):
    emptied = []

    class Flush:
        def zero_(self):
            emptied.append(cuda.timeline.gpu)
            cuda.timeline.queue(50e-6)

    def empty(count, *, dtype, device):
        assert (count, dtype, device) == (2 * 40 * 2**20, torch.uint8, "cuda")
        return Flush()

    monkeypatch.setattr(torch, "empty", empty)
    device = open_gpu("cold", launch)
    work = network_of(cuda, kernels=1, kernel_us=100, launch_us=5)
    assert device.time(work, Backlog()) == pytest.approx(0.1, abs=0.006)
    assert len(emptied) == 1


def test_all_graphs_share_one_pool_and_a_graph_is_launched_once(cuda, driver):
    device = open_gpu(launch="hidden")
    work = network_of(cuda, kernels=60, kernel_us=2, launch_us=5)
    replays = [device.capture(work) for _ in range(3)]
    assert cuda.pools == [(0, 1)] * 3
    assert device.time(replays[0], Backlog()) == pytest.approx(10e-3)


def test_what_cannot_be_captured_names_the_way_out(cuda, driver):
    runs = []

    def work():
        runs.append(1)
        if len(runs) > cuda_device.CAPTURE_WARM_UP_RUNS:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(UserError, match=r"capturing\); --option graphs=off") as caught:
        open_gpu().capture(work)
    assert "\n" not in str(caught.value)


def test_a_full_memory_is_one_line(cuda, driver):
    def work():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    for act in (open_gpu().capture, lambda work: open_gpu().time(work, Backlog())):
        with pytest.raises(UserError, match="memory is full; a smaller --batch-size"):
            act(work)


def test_the_record_says_all_of_the_card_and_the_state_what_changes(cuda, driver):
    device = open_gpu()
    gpu = device.hardware()["gpu"]
    assert gpu["name"] == "NVIDIA A100-SXM4-40GB"
    assert (gpu["driver"], gpu["max_sm_clock_mhz"], gpu["multiprocessors"]) == ("580.1", 1410, 108)
    assert "unwatched" not in gpu
    assert find_device("a100").matches({"gpu": gpu})
    driver.reasons = 0x40
    state = device.state()["gpu"]
    assert state["throttled"] is True
    assert (state["sm_clock_mhz"], state["foreign_processes"]) == (1095, 0)


def test_without_nvml_it_measures_and_says_what_is_not_watched(cuda, driver, monkeypatch, caplog):
    driver.leave()
    monkeypatch.setattr(cuda_device, "has_driver", lambda: True)
    assert gpu_availability().available
    device = open_gpu()
    assert "clocks, heat, power and other programs on it are not watched" in caplog.text
    assert device.state() == {}
    gpu = device.hardware()["gpu"]
    assert gpu["name"] == "NVIDIA A100-SXM4-40GB"
    assert gpu["unwatched"] == list(cuda_device.WATCHED)
    work = network_of(cuda, kernels=1, kernel_us=100, launch_us=5)
    assert device.time(work, Backlog()) == pytest.approx(0.1, abs=0.006)


@pytest.mark.parametrize("names_itself", [True, False])
def test_a_slice_is_named_as_one_and_is_no_a100(monkeypatch, driver, names_itself):
    name = "NVIDIA A100-SXM4-40GB" + (" MIG 1g.5gb" if names_itself else "")
    FakeCuda(monkeypatch, name=name)
    driver.slice_uuid = "abcd"
    gpu = open_gpu().hardware()["gpu"]
    assert "MIG" in gpu["name"].split()
    assert gpu["mig"] is True
    assert gpu["driver"] == "580.1"
    assert not find_device("a100").matches({"gpu": gpu})
    assert open_gpu().state()["gpu"]["sm_clock_mhz"] == 1095


class TestOtherProcesses:
    """Who else is on the GPU, in a container where NVML gives the host's process numbers."""

    @pytest.fixture
    def opened(self, cuda, driver):
        """Opens the GPU, on which this process is then known as `own`, or not listed (None)."""

        def open_as(own, others=()):
            driver.processes = list(others)
            zeros = torch.zeros

            def touch(*size, device=None):
                if own is not None:
                    driver.processes = [*others, own]
                return zeros(*size)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torch, "zeros", touch)
                return open_gpu()

        return open_as

    @pytest.mark.parametrize("own", [4_100_000, pytest.param(os.getpid(), id="own"), None])
    def test_ones_own_number_is_not_foreign_whatever_it_is(self, opened, driver, own):
        device = opened(own)
        assert device.state()["gpu"]["foreign_processes"] == 0
        driver.processes.append(999_999)
        assert device.state()["gpu"]["foreign_processes"] == 1

    @pytest.mark.parametrize("own", [4_100_000, pytest.param(os.getpid(), id="own")])
    def test_who_was_there_before_counts(self, opened, driver, own):
        device = opened(own, others=(17, 18))
        assert device.state()["gpu"]["foreign_processes"] == 2
        driver.processes.remove(17)
        assert device.state()["gpu"]["foreign_processes"] == 1

    @pytest.mark.parametrize("own", [4_100_000, None])
    def test_who_is_on_another_card_does_not_count(self, opened, driver, own):
        driver.elsewhere = [17, 18]
        device = opened(own)
        assert device.state()["gpu"]["foreign_processes"] == 0

    def test_a_context_that_was_open_already_is_ones_own(self, opened, driver, monkeypatch):
        put(monkeypatch, torch.cuda, "is_initialized", lambda: True)
        driver.processes = [4_100_000]
        assert open_gpu().state()["gpu"]["foreign_processes"] == 0


def test_on_a_gpu_time_is_that_of_the_work():
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here: CUDA events cannot be timed")
    device = open_gpu("cold")
    values = torch.randn(4096, 4096, device=device.name)
    once = min(device.time(lambda: values @ values, Backlog()) for _ in range(5))

    def ten_times():
        for _ in range(10):
            values @ values

    assert min(device.time(ten_times, Backlog()) for _ in range(5)) > 5 * once
    assert device.hardware()["gpu"]["compute_capability"]
