"""Another session: a process of its own, some time later, that times networks as a user would.

It times the validation networks again, which shows how sessions differ, and others that the table's
own session never ran: half of them from the table's own front of multiply-adds (standing for
accuracy) against latency, where searches end, half at random.

`python -m profilers.tables.other_session JOB RESULT` is that process.
"""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.files import FileModel
from fofa.latency import Lut
from fofa.space import Architecture, NetworkConfig, macs, parse_architecture
from profilers import registry
from profilers.measuring.interference import OtherProfilers
from profilers.measuring.measurement import Measurement, evaluate
from profilers.measuring.rounds import Instruments, run_rounds
from profilers.measuring.samples import Round, SchedulePlan, read_samples, round_of, write_samples
from profilers.measuring.settings import MeasureSettings
from profilers.measuring.workload import (
    Item,
    Workload,
    canary_item,
    mixed_choice,
    network_item,
    network_pool,
)
from profilers.plugin import MeasuringPlugin, PluginOptions

TIMEOUT_SECONDS = 600.0
"""Beyond twice its budget; building on a GPU takes minutes."""
MODULE = "profilers.tables.other_session"
Times = tuple[SchedulePlan, list[Round]]
RunSession = Callable[[Workload, MeasureSettings], Times]
"""Times a workload in a session that is not the table's own."""


class SessionJob(FileModel):
    """What the other process is to do (schema `fofa.session/1`); `networks` by role and name."""

    SCHEMA: ClassVar[str] = "fofa.session"
    VERSION: ClassVar[int] = 1

    plugin: str
    options: dict[str, Any]
    space: SpaceRecord
    width_mult: float
    num_classes: int
    canary_resolution: int
    networks: list[tuple[Literal["validation", "other"], str]]
    settings: dict[str, Any]

    def workload(self) -> Workload:
        """The networks to time."""
        config = NetworkConfig(
            family=self.space.family, width_mult=self.width_mult, num_classes=self.num_classes
        )
        items: list[Item] = []
        for role, name in self.networks:
            network = parse_architecture(name, self.space.family)
            items.append(network_item(role, network.subnet, network.resolution, config))
        return Workload(canary_item(self.canary_resolution, config), tuple(items))

    def run(self, waiting: int | None = None) -> tuple[Workload, Measurement]:
        """Open a session of the runtime and time them; the process `waiting` is idle meanwhile.

        Raises:
            UserError: if the plugin is not installed or cannot run here.
        """
        plugin, workload = registry.load_plugin(self.plugin), self.workload()
        if not isinstance(plugin, MeasuringPlugin):
            raise UserError(f"plugin {self.plugin} does not run networks")
        settings = MeasureSettings(**self.settings)
        options = PluginOptions(**self.options)
        with OtherProfilers(waiting=waiting) as others, plugin.open(options) as session:
            instruments = Instruments(other_profilers=others.count)
            plan, rounds = run_rounds(session, workload, settings, instruments)
        return workload, evaluate(plan, rounds, workload.canary.name)


def plan_other_session(
    lut: Lut, config: NetworkConfig, settings: MeasureSettings, first: Workload
) -> Workload:
    """The networks of a session after the first, whose table is `lut`."""
    items: list[Item] = []
    timed = {item.architecture for item in first.items}
    for resolution in lut.space.resolutions:
        rng = random.Random(f"{settings.seed}/{resolution}/other")
        subnets = [
            subnet
            for subnet in network_pool(lut.search_space, rng)
            if Architecture(subnet, resolution) not in timed
        ]
        networks = [Architecture(subnet, resolution) for subnet in subnets]
        size = np.array([macs(network, config) for network in networks])
        chosen = mixed_choice(
            subnets, lut.latencies_ms(networks), size, settings.other_networks, rng
        )
        items += first.of("validation", resolution)
        items += [network_item("other", subnet, resolution, config) for subnet in chosen]
    return Workload(first.canary, tuple(items))


def in_another_process(
    plugin: str, options: PluginOptions, space: SpaceRecord, config: NetworkConfig
) -> RunSession:
    """Runs sessions of `plugin` in processes of their own, each after the settings' gap."""

    def run(workload: Workload, settings: MeasureSettings) -> Times:
        job = SessionJob(
            plugin=plugin,
            options=dataclasses.asdict(options),
            space=space,
            width_mult=config.width_mult,
            num_classes=config.num_classes,
            canary_resolution=workload.canary.resolution,
            networks=[
                ("other" if item.role == "other" else "validation", str(item.architecture))
                for item in workload.items
            ],
            settings=dataclasses.asdict(settings),
        )
        time.sleep(settings.gap_seconds)
        with tempfile.TemporaryDirectory(prefix="fofa-session-") as folder:
            source, result = Path(folder) / "job.json", Path(folder) / "samples.json.gz"
            job.write(source)
            _call([sys.executable, "-m", MODULE, str(source), str(result)], settings)
            samples = read_samples(result)
        return samples.plan, [round_of(record, samples.items) for record in samples.rounds]

    return run


def _call(command: list[str], settings: MeasureSettings) -> None:
    """Run the other process; this one sleeps meanwhile, and holds a pipe that ends with it.

    Raises:
        UserError: with the last line it said, if it failed or did not end.
    """
    limit = TIMEOUT_SECONDS + 2 * settings.budget_seconds
    ours, theirs = os.pipe()
    try:
        done = subprocess.run(
            command, stdin=ours, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the other session did not end within {limit:.0f} s") from None
    finally:
        os.close(ours)
        os.close(theirs)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise UserError(f"the other session failed: {lines[-1] if lines else 'no reason'}")


def end_with_parent() -> None:
    """End this process as soon as standard input does: when who started it is gone."""

    def wait() -> None:
        while os.read(0, 1):  # sys.stdin would be locked when the interpreter ends
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(source: Path, result: Path) -> None:
    """Do the job in one file and write its samples to another."""
    end_with_parent()
    job = SessionJob.read(source)
    _, measurement = job.run(waiting=os.getppid())
    write_samples(result, measurement.samples_file({"plugin": job.plugin}))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(str(error))
