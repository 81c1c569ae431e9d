"""Named devices: which plugin measures them, with which defaults, on which hardware.

A name stands for a way of measuring, so that tables made by different people compare. The hardware
present is checked against what the name expects; the table records both. `fofa-profile` uses it so:

    device = find_device(name, plugins=registry.installed(), plugin=plugin_option)
    options = device.options(user_options)          # a person's choices win over the defaults
    plugin = registry.load_plugin(device.plugin)
    ...
    matches = device.matches(ran_on(measured_on))   # -> DeviceRecord(requested=device.name, ...)

`--plugin` replaces the device's plugin and keeps its name, defaults and expectation:
`--device a100 --plugin roofline` estimates the table that `--device a100` would measure.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fofa.errors import UserError
from profilers.plugin import PluginOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Hardware that a device's name promises.

    Attributes:
        what: the property that is compared.
        pattern: regular expression, searched for in that property, upper and lower case alike.
        description: the hardware in words, for messages.
    """

    what: Literal["cpu_model", "gpu_name", "compute_capability"]
    pattern: str
    description: str

    def matches(self, environment: Mapping[str, Any]) -> bool:
        """Whether the hardware in `environment` is the expected one."""
        found = self.found(environment)
        return found is not None and re.search(self.pattern, found, re.IGNORECASE) is not None

    def found(self, environment: Mapping[str, Any]) -> str | None:
        """The compared property of the hardware that is there, None if there is none.

        What ran on a GPU did not run on the CPU, whatever that is: the GPU's name stands for it.
        """
        if self.what == "cpu_model":
            used = environment.get("gpu") or {}
            return used.get("name") or (environment.get("cpu") or {}).get("model")
        gpu = measured_gpu(environment) or {}
        return gpu.get("name" if self.what == "gpu_name" else "compute_capability")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A name that `--device` takes."""

    name: str
    plugin: str
    summary: str
    defaults: PluginOptions = field(default_factory=PluginOptions)
    expectation: Expectation | None = None

    def options(self, chosen: PluginOptions) -> PluginOptions:
        """`chosen`, completed by the device's defaults."""
        missing = {
            name: getattr(self.defaults, name)
            for name in ("batch_size", "dtype", "threads", "source")
            if getattr(chosen, name) is None
        }
        return dataclasses.replace(chosen, **missing, extra=self.defaults.extra | chosen.extra)

    def matches(self, environment: Mapping[str, Any]) -> bool | None:
        """Whether `environment` is the expected hardware; None where nothing is expected.

        `environment` is `capture_environment()`, of which the first of `gpus` counts, or, of a
        measurement, `ran_on` of what the table's `measured_on` holds.
        """
        return None if self.expectation is None else self.expectation.matches(environment)

    def mismatch(self, environment: Mapping[str, Any]) -> str | None:
        """A sentence that says what was expected and what is there; None if nothing is wrong."""
        if self.expectation is None or self.expectation.matches(environment):
            return None
        found = self.expectation.found(environment) or "none"
        return f"{self.name} expects {self.expectation.description}; found here: {found}"


def ran_on(measured_on: Mapping[str, Any]) -> dict[str, Any]:
    """What a measurement ran on: its record without the GPUs that were there but not used.

    A plugin that runs on a GPU puts the one it used under `gpu`.
    """
    return {name: value for name, value in measured_on.items() if name != "gpus"}


def measured_gpu(environment: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The GPU that was used, or the first one there is."""
    gpu: Mapping[str, Any] | None = environment.get("gpu")
    return gpu or next(iter(environment.get("gpus") or []), None)


def is_shared(environment: Mapping[str, Any]) -> bool:
    """Whether what was timed is a virtual machine's processor, whose host has others to serve."""
    system = environment.get("system") or {}
    return environment.get("gpu") is None and system.get("virtualised") is True


_CPU_DEFAULTS = PluginOptions(batch_size=1, dtype="fp32", threads=1)

DEVICES: tuple[Device, ...] = (
    Device(
        name="epyc7763",
        plugin="onnxruntime",
        summary="AMD EPYC 7763, one thread (paper, Table 5)",
        defaults=_CPU_DEFAULTS,
        expectation=Expectation(
            what="cpu_model", pattern=r"\bEPYC 7763\b", description="an AMD EPYC 7763 CPU"
        ),
    ),
    Device(
        name="a100",
        plugin="tensorrt",
        summary="NVIDIA A100, TensorRT, batch 64, fp16 (paper, Table 4)",
        defaults=PluginOptions(batch_size=64, dtype="fp16"),
        expectation=Expectation(
            what="gpu_name",
            pattern=r"^(?!.*\bMIG\b).*\bA100\b",
            description="an NVIDIA A100 GPU, no slice of one",
        ),
    ),
    Device(
        name="pascal",
        plugin="cuda",
        summary="NVIDIA Pascal card, PyTorch, batch 64, fp32 (paper, Table 4)",
        defaults=PluginOptions(batch_size=64, dtype="fp32"),
        expectation=Expectation(
            what="compute_capability",
            pattern=r"^6\.",
            description="a GPU of compute capability 6.x",
        ),
    ),
    Device(
        name="note10",
        plugin="published",
        summary="Samsung Galaxy Note10, OFA's published table (paper, Table 3)",
        defaults=PluginOptions(batch_size=1),
    ),
    Device(
        name="cpu",
        plugin="onnxruntime",
        summary="the CPU of this machine, one thread",
        defaults=_CPU_DEFAULTS,
    ),
    Device(
        name="cuda",
        plugin="cuda",
        summary="the NVIDIA GPU of this machine, PyTorch, batch 64, fp32",
        defaults=PluginOptions(batch_size=64, dtype="fp32"),
    ),
    Device(
        name="tensorrt",
        plugin="tensorrt",
        summary="the NVIDIA GPU of this machine, TensorRT, batch 64, fp16",
        defaults=PluginOptions(batch_size=64, dtype="fp16"),
    ),
)


def find_device(name: str, *, plugins: Iterable[str] = (), plugin: str | None = None) -> Device:
    """The device called `name`.

    Args:
        name: a named device, or the name of a plugin (with that plugin's own defaults).
        plugins: names of the installed plugins.
        plugin: use this plugin in place of the device's own. Then `name` may also be any new one:
            it becomes the label of the table.

    Raises:
        UserError: listing what is known, if the device or the plugin is not.
    """
    installed = sorted(plugins)
    named = {device.name: device for device in DEVICES}
    if plugin is not None and plugin not in installed:
        raise UserError(f"unknown plugin {plugin!r}; installed: {', '.join(installed) or 'none'}")
    if name in named:
        device = named[name]
    elif name in installed:
        device = Device(name=name, plugin=name, summary=f"the plugin {name}")
    elif plugin is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name, re.ASCII):
        device = Device(name=name, plugin=plugin, summary=f"measured by the plugin {plugin}")
    else:
        known = [*named, *(other for other in installed if other not in named)]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"unknown device {name!r}, expected one of {', '.join(known)}{hint}")
    return device if plugin is None else dataclasses.replace(device, plugin=plugin)
