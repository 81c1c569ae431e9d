"""Which GPUs a build of torch can use, options, and what is said where there is no GPU."""

import pytest

from fofa.errors import UserError
from profilers.hardware import cuda as cuda_device
from profilers.hardware import nvml
from profilers.hardware.cuda import GpuOptions, gpu_availability, open_gpu, unsupported_gpu
from profilers.plugin import PluginOptions

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
        ((6, 1), CUDA_13, "install the CUDA 12.6 build of torch (wheels named +cu126)"),
        ((6, 0), CUDA_13, "CUDA 12.6 build"),
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


def test_options_take_defaults_and_refuse_what_makes_no_sense():
    assert GpuOptions.of("cuda", PluginOptions(), dtype="fp32") == GpuOptions(
        batch_size=64, dtype="fp32", l2="warm", graphs=False
    )
    chosen = PluginOptions(batch_size=1, dtype="fp16", extra={"l2": "cold", "graphs": "on"})
    assert GpuOptions.of("cuda", chosen, dtype="fp32") == GpuOptions(
        batch_size=1, dtype="fp16", l2="cold", graphs=True
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": {"graph": "on"}}, "unknown options graph; known: graphs, l2"),
        ({"extra": {"l2": "hot"}}, "l2 'hot', expected warm or cold"),
        ({"extra": {"graphs": "yes"}}, "graphs 'yes', expected off or on"),
        ({"dtype": "int8"}, "dtype 'int8', expected fp32 or fp16"),
        ({"batch_size": 0}, "batch size 0"),
        ({"threads": 4}, "no number of threads"),
        ({"source": "x"}, "no source"),
    ],
)
def test_an_option_that_is_not_possible_is_named(options, message):
    with pytest.raises(UserError, match=message):
        GpuOptions.of("cuda", PluginOptions(**options), dtype="fp32")


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(nvml, "gpu_records", list)
    assert not gpu_availability().available
    with pytest.raises(UserError, match="no NVIDIA GPU or driver found"):
        open_gpu()


@pytest.fixture
def pascal(monkeypatch):
    """A Pascal card under a driver, met by the installed build of torch."""
    import torch

    monkeypatch.setattr(nvml, "gpu_records", lambda: [{"name": "GTX 1080 Ti"}])
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CUDA_13)
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


def test_on_a_gpu_time_is_that_of_the_work():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here: CUDA events cannot be timed")
    device = open_gpu("cold")
    values = torch.randn(4096, 4096, device=device.name)
    once = min(device.time(lambda: values @ values) for _ in range(5))

    def ten_times():
        for _ in range(10):
            values @ values

    assert min(device.time(ten_times) for _ in range(5)) > 5 * once
    assert device.hardware()["gpu"]["compute_capability"]
    assert cuda_device.L2_STATES
