"""What `fofa-profile` prints on standard output: results, as text or as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from fofa.commands.cli import say_json, stdout_console
from fofa.latency import Lut, Stability
from fofa.validation import SessionErrors, Validation, student_quantile
from profilers.hardware.devices import Device
from profilers.measuring.network_timing import NetworkTiming
from profilers.plugin import NetworkEstimate
from profilers.registry import PluginStatus
from profilers.tables.agreement import Agreement


def table(lut: Lut, out: Path, compared: Agreement | None = None, *, as_json: bool) -> None:
    """A table's error, noise and stability, how it agrees with another, where it was written."""
    if as_json:
        more = {} if compared is None else {"agreement": compared.to_dict()}
        say_json(summary(lut, out) | more)
        return
    grid = _grid()
    for name, value in _rows(lut):
        grid.add_row(name, value)
    for name, value in _agreement_rows(compared) if compared is not None else ():
        grid.add_row(name, value)
    grid.add_row("written to", str(out))
    stdout_console().print(grid)


def summary(lut: Lut, out: Path) -> dict[str, Any]:
    """The result of a run as plain values."""
    return {
        "out": str(out),
        "device": lut.device.requested,
        "matches": lut.device.matches,
        "method": lut.method,
        "entries": len(lut.entries),
        "resolutions": lut.space.resolutions,
        "validation": lut.validation.model_dump() if lut.validation else None,
        "stability": lut.stability.model_dump() if lut.stability else None,
        "energy": lut.energy.model_dump(exclude={"measured_mj"}) if lut.energy else None,
        "measurement": lut.device.measured_on.get("measurement"),
        "raw_samples": lut.raw_samples,
    }


def agreement(compared: Agreement, *, as_json: bool) -> None:
    """How two tables agree."""
    if as_json:
        say_json(compared.to_dict())
        return
    grid = _grid()
    for name, value in _agreement_rows(compared):
        grid.add_row(name, value)
    stdout_console().print(grid)


def _agreement_rows(compared: Agreement) -> list[tuple[str, str]]:
    def stated(percent: float | None) -> str:
        return "" if percent is None else f" (stated: within {percent:.2f}%)"

    verdict = {
        True: "yes, within what both state",
        False: "NO, beyond what they state",
        None: "not to be told: not both were measured and validated",
    }
    return [
        ("compared", f"{compared.architectures} architectures with the older table"),
        (
            "in common",
            f"{compared.common_percent:+.2f}%{stated(compared.stated_common_percent)}",
        ),
        (
            "beyond that",
            f"{compared.rest_percent:.2f}% on average, {compared.rest_max_percent:.2f}% at most"
            f"{stated(compared.stated_rest_percent)}",
        ),
        *(("differs", difference) for difference in compared.differences),
        ("agrees", verdict[compared.agrees]),
    ]


def network(timing: NetworkTiming, *, as_json: bool) -> None:
    """One network's latency, and what a table predicts for it."""
    if as_json:
        say_json(timing.to_dict())
        return
    grid = _grid()
    grid.add_row("network", timing.network)
    if timing.architecture:
        grid.add_row("architecture", timing.architecture.name)
    protocol = timing.protocol
    grid.add_row("measured by", f"{protocol.runtime}, batch {protocol.batch_size}")
    grid.add_row(
        "latency",
        f"{timing.latency_ms:.4g} ms ± {timing.mad_ms:.2g} (MAD; {timing.samples} runs)",
    )
    grid.add_row("noise", f"{timing.noise_percent:.2f}% between two loads of the file")
    if timing.predicted_ms is not None and timing.error_percent is not None:
        grid.add_row(
            "table says", f"{timing.predicted_ms:.4g} ms, error {timing.error_percent:+.2f}%"
        )
        if timing.inside is not None:
            where = "inside" if timing.inside else "OUTSIDE"
            grid.add_row(
                "", f"{where} its interval, {timing.low_ms:.4g} to {timing.high_ms:.4g} ms"
            )
    for difference in timing.differences:
        grid.add_row("differs", difference)
    grid.add_row("stable", _verdict(timing.stability))
    stdout_console().print(grid)


def network_estimate(estimate: NetworkEstimate, *, as_json: bool) -> None:
    """One network's estimated latency."""
    if as_json:
        say_json(estimate.to_dict())
        return
    grid = _grid()
    protocol = estimate.protocol
    grid.add_row("network", estimate.network)
    grid.add_row(
        "estimated by", f"{protocol.runtime}, {protocol.dtype}, batch {protocol.batch_size}"
    )
    grid.add_row(
        "latency",
        f"{estimate.latency_ms:.4g} ms ({estimate.low_ms:.4g} to {estimate.high_ms:.4g} ms in 90%)",
    )
    grid.add_row("source", estimate.source)
    stdout_console().print(grid)


def devices(
    known: Sequence[Device],
    plugins: Sequence[PluginStatus],
    environment: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Named devices and installed plugins, with what can run here and why the rest cannot."""
    status = {plugin.name: plugin.availability for plugin in plugins}
    if as_json:
        listing = {
            "devices": [
                {
                    "name": device.name,
                    "plugin": device.plugin,
                    "summary": device.summary,
                    "available": device.plugin in status and status[device.plugin].available,
                    "mismatch": device.mismatch(environment),
                }
                for device in known
            ],
            "plugins": [
                {
                    "name": plugin.name,
                    "summary": plugin.summary,
                    "available": plugin.availability.available,
                    "reason": plugin.availability.reason,
                }
                for plugin in plugins
            ],
        }
        say_json(listing)
        return
    grid = Table("device", "plugin", "what", "here", box=None, pad_edge=False)
    for device in known:
        here = status.get(device.plugin)
        if here is None:
            remark = f"no: plugin {device.plugin} is not installed"
        elif not here.available:
            remark = "no: see the plugin"
        else:
            mismatch = device.mismatch(environment)
            remark = f"yes, but {mismatch}" if mismatch else "yes"
        grid.add_row(device.name, device.plugin, device.summary, remark)
    console = stdout_console()
    console.print(grid)
    console.print()
    grid = Table("plugin", "what", "here", box=None, pad_edge=False)
    for plugin in plugins:
        availability = plugin.availability
        remark = "yes" if availability.available else f"no: {availability.reason}"
        grid.add_row(plugin.name, plugin.summary, remark)
    console.print(grid)


def _rows(lut: Lut) -> list[tuple[str, str]]:
    resolutions = ", ".join(map(str, lut.space.resolutions))
    rows = [
        ("device", f"{lut.device.requested} ({lut.method})"),
        ("runtime", f"{lut.protocol.plugin}: {lut.protocol.runtime}"),
        (
            "space",
            f"{lut.space.kind}, width {lut.space.width_mult:g}, {resolutions} px, "
            f"{len(lut.entries)} entries",
        ),
    ]
    if lut.device.matches is not None:
        rows.append(("hardware", "as the name says" if lut.device.matches else "NOT as named"))
    if lut.source:
        rows.append(("source", lut.source))
    if (validation := lut.validation) is not None:
        rows += _error_rows(validation)
        rows += [
            ("noise", f"{validation.noise_percent:.2f}% between two timings of one network"),
        ]
    if (energy := lut.energy) is not None:
        rows.append(
            (
                "energy",
                f"of an image, by {energy.source}: {energy.mape_percent:.1f}% off on average, "
                f"{energy.max_percent:.1f}% at most, on {energy.networks} networks that were left "
                f"out; {energy.noise_percent:.1f}% between two windows; {energy.idle_watts:.3g} W "
                "when nothing runs, which is part of it",
            )
        )
    if (facts := lut.device.measured_on.get("measurement")) is not None:
        rows.append(
            (
                "measured in",
                f"{facts['seconds']:.0f} s, {facts['rounds']} rounds, "
                f"{facts['undisturbed_rounds']} of them undisturbed; the machine's speed varied by "
                f"{facts['drift_percent']:.1f}%, of which correction leaves "
                f"{facts['residual_drift_percent']:.1f}%",
            )
        )
    if lut.stability is not None:
        rows.append(("stable", _verdict(lut.stability)))
    if lut.raw_samples:
        rows.append(("raw samples", lut.raw_samples))
    return rows


def _error_rows(validation: Validation) -> list[tuple[str, str]]:
    """The error in the table's own session and in others, and what bounds a single network."""
    sessions = [
        ("error", validation.within_session, "in its own session"),
        ("", validation.between_sessions, "in another session"),
    ]
    found: list[tuple[str, SessionErrors | Validation, str]] = [
        (name, errors, where) for name, errors, where in sessions if errors is not None
    ]
    rows = []
    for name, errors, where in found or [("error", validation, "it was not fitted to")]:
        tau = "-" if errors.kendall_tau is None else f"{errors.kendall_tau:.4f}"
        rows += [
            (
                name,
                f"mean {errors.mape_percent:.2f}%, largest {errors.max_percent:.2f}%, on "
                f"{errors.networks} networks {where}",
            ),
            (
                "",
                f"{errors.within_5_percent:.0f}% within 5%, "
                f"{errors.within_10_percent:.0f}% within 10%; Kendall tau {tau}",
            ),
        ]
    if (known := validation.uncertainty) is not None:
        whole = known.session_percent, known.moment_percent, known.network_percent
        margins = [
            math.hypot(*whole) * student_quantile(level, known.degrees_of_freedom)
            for level in (0.90, 0.95)
        ]
        rows.append(
            (
                "margin",
                f"about {margins[0]:.1f}% for nine networks in ten, {margins[1]:.1f}% for nineteen "
                f"in twenty (deviations: sessions {whole[0]:.1f}%, moments {whole[1]:.1f}%, "
                f"networks {whole[2]:.1f}%)",
            )
        )
    return rows


def _verdict(stability: Stability) -> str:
    return "yes" if stability.stable else "NO: " + "; ".join(stability.reasons)


def _grid() -> Table:
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
