"""`fofa-profile`: measure a device and write its latency table, or time one exported network."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fofa.accuracy import SpaceRecord
from fofa.commands import GOES_ON
from fofa.commands.cli import (
    make_app,
    run_app,
    stderr_console,
)
from fofa.commands.help import ending
from fofa.errors import UserError
from fofa.files import check_replaceable, locked
from fofa.latency import Lut, Stability
from fofa.precision import short_precision
from fofa.progress import Progress
from fofa.runtime.tensorrt import ENGINE_SUFFIXES
from profilers import registry
from profilers.commands import elsewhere, show
from profilers.commands.networks import wanted_networks
from profilers.hardware.devices import DEVICES, find_device
from profilers.hardware.environment import capture_environment
from profilers.measuring.interference import OtherProfilers
from profilers.measuring.network_timing import NetworkTiming, architecture_of, time_network
from profilers.measuring.rounds import Instruments
from profilers.measuring.settings import (
    DEFAULT_BUDGET_SECONDS,
    DEFAULT_GAP_SECONDS,
    DEFAULT_SESSIONS,
    MeasureSettings,
)
from profilers.plugin import MeasuringPlugin, Plugin, PluginOptions, TablePlugin
from profilers.remote.transport import is_address
from profilers.tables.agreement import Agreement
from profilers.tables.agreement import compare as tables_agree
from profilers.tables.build import import_table, measure_lut
from profilers.tables.measured import ImpossibleTableError, LutRequest
from profilers.tables.other_session import in_another_process

DEFAULT_NETWORK_DEVICE = "cpu"
ENGINE_DEVICE = "tensorrt"
RECORDED_OPTIONS = ("l2", "launch", "memory_format", "binding", "spinning", "streams")
RECORDED_SWITCHES = {"cuda_graphs": "graphs", "pinned": "pin"}
"""Options of plugins as a table's protocol records them."""
NAME = "fofa-profile"
app = make_app(
    "Measure a device and write its latency table (LUT). With --list, say what can be measured "
    "here; with --network, time one exported network."
)


@app.command(
    epilog=ending(
        "fofa-profile --list",
        "fofa-profile --device cpu --threads 4 --out cpu.json",
        "fofa-profile --device cpu --run runs/mine --out cpu.json",
        "fofa-profile --device ssh://pi@raspberry.local --out pi.json",
        "fofa-profile --network network.onnx --lut cpu.json",
    )
)
def profile(
    device: Annotated[
        str | None,
        typer.Option(
            help="Named device or plugin (see --list); or another machine: ssh://user@host[:port], "
            "adb:SERIAL, local:.",
            metavar="NAME",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Table to write; raw samples go beside it.")
    ] = None,
    plugin: Annotated[
        str | None,
        typer.Option(help="Use this plugin in place of the device's own; any --device is a label."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder whose networks are meant: its space, resolutions, family, width and "
            "classes, where the options below do not say otherwise."
        ),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Search space: compound (the default) or elastic.")
    ] = None,
    resolutions: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated, in pixels. Default the run's, or 128,160,192,224; for a "
            "published table all that it has."
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="Of the networks: mobilenetv3 (the default), proxyless, efficientnet-lite0, or a "
            "YAML file."
        ),
    ] = None,
    width_mult: Annotated[
        float | None, typer.Option(help="Width multiplier of the networks; 1 by default.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(help="Classes of the networks; 1000 by default.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per run. Default: the device's.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Number type: fp32, fp16, bf16 or int8, as the plugin can. Default: the device's."
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the device's.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Folder, file or URL of a published table. With --plugin roofline: the hardware "
            "to estimate, such as a100, h100, t4 or epyc7763 (a wrong name lists all)."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Further option of the plugin, as NAME=VALUE; may be repeated."),
    ] = None,
    require_match: Annotated[
        bool, typer.Option(help="Stop (exit code 2) if the hardware is not the named device's.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(help="Exit with code 1 if the measurement was unstable or --compare fails."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the choice of networks and the order.")] = 0,
    budget_seconds: Annotated[
        float,
        typer.Option(
            help="Wall time to aim at once all is built; a least number of rounds is always made."
        ),
    ] = DEFAULT_BUDGET_SECONDS,
    sessions: Annotated[
        int,
        typer.Option(
            help="Processes that measure: the first makes the table, the others test it, as "
            "somebody would who uses it."
        ),
    ] = DEFAULT_SESSIONS,
    session_gap: Annotated[
        float, typer.Option(help="Seconds from one session to the next; minutes tell more.")
    ] = DEFAULT_GAP_SECONDS,
    fresh: Annotated[
        bool, typer.Option(help="Discard an interrupted measurement instead of continuing it.")
    ] = False,
    list_devices: Annotated[
        bool, typer.Option("--list", help="List devices and plugins, and what can run here.")
    ] = False,
    network: Annotated[
        Path | None,
        typer.Option(help="Time this exported ONNX network, or TensorRT engine, instead."),
    ] = None,
    lut: Annotated[
        Path | None,
        typer.Option(help="With --network: compare with this table. With --compare: this one."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Say whether the new table (or --lut) agrees with this older one."),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="With --network: the architecture, if the file does not say it."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Write what measures --device (any name) where no cable reaches."),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--import", help="Make the table of the samples that a bundle's agent wrote."),
    ] = None,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy",
            help="Measure the energy of an image, too, where the hardware counts it (RAPL, NVML): "
            "two half seconds of each of 24 networks of every resolution.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a device and write its latency table, or time one exported network."""
    if list_devices:
        show.devices(DEVICES, registry.list_plugins(), capture_environment(), as_json=as_json)
        return
    chosen = PluginOptions(
        batch_size=batch_size,
        dtype=None if dtype is None else short_precision(dtype),
        threads=threads,
        source=source,
        extra=parse_extra(option or []),
    )
    settings = MeasureSettings(
        seed=seed,
        budget_seconds=budget_seconds,
        sessions=sessions,
        gap_seconds=session_gap,
    )
    older = Lut.read(compare) if compare is not None else None
    agreement: Agreement | None = None
    stability: Stability | None = None
    if energy and (network is not None or far_away(bundle, samples, device)):
        raise UserError("--energy is of a table that is measured on this machine")
    if network is not None:
        if older is not None:
            raise UserError("--compare compares tables; it does not go with --network")
        if estimator := estimating(plugin or device):
            if lut is not None:
                raise UserError("an estimate is not compared with a table; leave out --lut")
            label = device or estimator.name
            named = find_device(label, plugins=registry.installed(), plugin=plugin)
            estimate = estimator.estimate_network(network, named.options(chosen), label)
            show.network_estimate(estimate, as_json=as_json)
            return
        table = Lut.read(lut) if lut else None
        timing = profile_network(network, table, device, plugin, chosen, settings, architecture)
        show.network(timing, as_json=as_json)
        stability = timing.stability
    elif lut is not None and older is not None and device is None and out is None:
        agreement = tables_agree(Lut.read(lut), older)
        show.agreement(agreement, as_json=as_json)
    else:
        if lut is not None or architecture is not None:
            raise UserError(
                "--lut goes with --network, or with --compare and nothing else; --architecture "
                "goes with --network"
            )
        said = (bundle, device, plugin, run, resolutions, batch_size)
        if samples is not None and any((*said, dtype, threads, source, option)):
            raise UserError("--import takes --out only: the samples say what they are of")
        if bundle is not None and (out is not None or older is not None):
            raise UserError("--bundle measures nothing: leave out --out and --compare")
        target = out or bundle
        if target is None or (device is None and samples is None):
            raise UserError("give --device and --out, or --list, or --network")
        if far_away(bundle, samples, device):
            named = elsewhere.named_elsewhere(device, plugin, target)
        else:
            named = find_device(device or "", plugins=registry.installed(), plugin=plugin)
        networks = wanted_networks(run, space, resolutions, family, width_mult, num_classes)
        request = LutRequest(
            device=named,
            space=networks.space,
            config=networks.config,
            options=named.options(chosen),
            settings=settings,
        )
        with claimed(target):
            if bundle is not None or out is None:
                print(elsewhere.write_bundle(target, request))
                return
            result = make_lut(
                request,
                out,
                samples=samples,
                address=device if is_address(device or "") else None,
                resolutions=networks.resolutions,
                fresh=fresh,
                require_match=require_match,
                energy=energy,
            )
        agreement = tables_agree(result, older) if older is not None else None
        show.table(result, out, agreement, as_json=as_json)
        stability = result.stability
    unstable = stability is not None and not stability.stable
    if strict and (unstable or (agreement is not None and agreement.agrees is False)):
        raise typer.Exit(1)


def far_away(bundle: Path | None, samples: Path | None, device: str | None) -> bool:
    """Whether another machine is measured."""
    return bundle is not None or samples is not None or is_address(device or "")


def make_lut(
    request: LutRequest,
    out: Path,
    *,
    samples: Path | None,
    address: str | None,
    resolutions: tuple[int, ...] | None,
    fresh: bool,
    require_match: bool,
    energy: bool,
) -> Lut:
    """The table of brought samples, of the machine at an address, or of this one; written.

    Raises:
        typer.Exit: with code 1 if what was timed cannot be true, once that is said.
    """
    here = samples is None and address is None
    plugin = registry.load_plugin(request.device.plugin) if here else None
    if isinstance(plugin, TablePlugin):
        if energy:
            raise UserError(f"plugin {plugin.name} runs nothing: leave out --energy")
        lut = import_table(request, plugin, resolutions)
        lut.write(out)
        return lut
    try:
        with instruments() as surroundings:
            if samples is not None:
                return elsewhere.import_samples(
                    samples, out, surroundings.warn, require_match=require_match
                )
            how = {"fresh": fresh, "require_match": require_match}
            if address is not None:
                return elsewhere.measure(address, request, out, surroundings, **how)
            assert plugin is not None
            session = in_another_process(
                plugin.name, request.options, SpaceRecord.of(request.space), request.config
            )
            return measure_lut(
                request,
                measuring(plugin),
                out,
                surroundings,
                run_session=session if request.settings.sessions > 1 else None,
                energy=energy,
                **how,
            )
    except ImpossibleTableError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def profile_network(
    network: Path,
    table: Lut | None,
    device: str | None,
    plugin: str | None,
    chosen: PluginOptions,
    settings: MeasureSettings,
    architecture: str | None,
) -> NetworkTiming:
    """Time one exported network; without a device, the way the table was measured."""
    is_engine = network.suffix.lower() in ENGINE_SUFFIXES
    usual = ENGINE_DEVICE if is_engine else DEFAULT_NETWORK_DEVICE
    target = device or (table.protocol.plugin if table else usual)
    if is_address(target):
        runtime: MeasuringPlugin = elsewhere.remote_plugin(target, plugin)
        options = like_table(chosen, table, runtime.name)
    else:
        named = find_device(target, plugins=registry.installed(), plugin=plugin)
        runtime = measuring(registry.load_plugin(named.plugin))
        options = named.options(like_table(chosen, table, named.plugin))
    subject = architecture_of(network, architecture, table.space.family if table else None)
    if table and subject is None:
        raise UserError(f"{network}: does not say its architecture; name it with --architecture")
    with (
        runtime.open(options) as session,
        instruments() as surroundings,
    ):
        return time_network(
            session, network, settings, surroundings, lut=table, architecture=subject
        )


def like_table(chosen: PluginOptions, table: Lut | None, plugin: str) -> PluginOptions:
    """`chosen`, completed by how `table` was measured; threads and more only by the same plugin."""
    if table is None:
        return chosen
    protocol = table.protocol
    recorded: dict[str, Any] = {"batch_size": protocol.batch_size, "dtype": protocol.dtype}
    extra: dict[str, str] = {}
    if protocol.plugin == plugin:
        recorded["threads"] = protocol.threads
        options = protocol.model_extra or {}
        extra = {name: str(options[name]) for name in RECORDED_OPTIONS if options.get(name)}
        for name, option in RECORDED_SWITCHES.items():
            if name in options:
                extra[option] = "on" if options[name] else "off"
    missing = {name: value for name, value in recorded.items() if getattr(chosen, name) is None}
    return dataclasses.replace(chosen, **missing, extra=extra | chosen.extra)


def estimating(plugin: str | None) -> TablePlugin | None:
    """The plugin of this name if it makes tables without running anything; else None."""
    if plugin is None or plugin not in registry.installed():
        return None
    loaded = registry.load_plugin(plugin)
    return loaded if isinstance(loaded, TablePlugin) else None


def measuring(plugin: Plugin) -> MeasuringPlugin:
    """`plugin` as one that runs networks.

    Raises:
        UserError: if it does not.
    """
    if not isinstance(plugin, MeasuringPlugin):
        raise UserError(f"plugin {plugin.name} does not run networks")
    return plugin


@contextlib.contextmanager
def instruments() -> Iterator[Instruments]:
    """The surroundings of a measurement that a person watches."""
    console = stderr_console()
    with OtherProfilers() as others, Progress(console) as progress:
        yield Instruments(
            other_profilers=others.count,
            progress=progress,
            warn=lambda message: console.print(f"{NAME}: warning: {message}", style="yellow"),
        )


def parse_extra(options: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` options of a plugin.

    Raises:
        UserError: if one is not of that form.
    """
    pairs = [option.partition("=") for option in options]
    if wrong := [name for name, separator, _ in pairs if not separator or not name]:
        raise UserError(f"--option {wrong[0]!r}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Hold `out` for this measurement, and fail before it rather than after it.

    Raises:
        UserError: if `out` is a folder or a device, its folder cannot be made or written, or
            another profiler makes this table.
    """
    if out.is_dir():
        raise UserError(f"{out}: is a folder, expected the name of a file")
    check_replaceable(out)
    busy = "another fofa-profile makes this table; wait for it, or choose another --out"
    with locked(out, busy):
        yield


def main() -> None:
    """Entry point of `fofa-profile`."""
    run_app(app, NAME, hint=GOES_ON)


if __name__ == "__main__":
    main()
