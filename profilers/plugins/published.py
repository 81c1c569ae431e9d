"""Published latency tables: OFA's YAML files (Cai et al., 2020), one per resolution.

Imported as they are: all their resolutions and blocks, at the width they were measured at. The
width multiplier is inferred from their channel counts (the Note10 table is of width 1.2), and each
entry is kept by its position in the network, so that an architecture of another width finds it.
The source is a folder of `<resolution>.yaml`, one such file, or the URL of such a folder.
"""

from __future__ import annotations

from fofa.accuracy import SpaceRecord
from fofa.errors import UserError
from fofa.latency import DeviceRecord, Lut, LutEntry, ProtocolRecord
from fofa.space import MOBILENETV3, NetworkConfig, SearchSpace
from profilers.plugin import Availability, PluginOptions, TablePlugin
from profilers.tables.ofa_yaml import OfaTable, read_tables


class PublishedPlugin(TablePlugin):
    """Imports a table that somebody else measured."""

    name = "published"
    summary = "imports OFA's published YAML tables (--source FOLDER, FILE or URL)"
    method = "published"

    def availability(self) -> Availability:
        return Availability(True)

    def table(
        self, space: SearchSpace, config: NetworkConfig, options: PluginOptions, device: str
    ) -> Lut:
        """The published table, as `device`.

        The table is what it is: of `space` only the resolutions are used, and only for a URL,
        whose files cannot be listed. `config`, dtype and threads are not used.

        Raises:
            UserError: if no source is given, or naming the file that is missing or wrong.
        """
        if options.source is None:
            raise UserError(
                "published: no source; give --source with a folder of <resolution>.yaml, "
                "one such file, or the URL of such a folder"
            )
        if space.family != MOBILENETV3:
            raise UserError(
                f"published: OFA's tables are of {MOBILENETV3}, not of family {space.family}"
            )
        if options.batch_size not in (None, 1):
            raise UserError(f"published: batch size {options.batch_size}, but the tables are of 1")
        if options.extra:
            raise UserError(f"published: unknown options {', '.join(sorted(options.extra))}")
        source, tables = read_tables(options.source, space.resolutions)
        _check_same_network(tables)
        kind = tables[0].kind
        blocks = [(table, *block) for table in tables for block in table.blocks(kind)]
        return Lut(
            device=DeviceRecord(requested=device, measured_on={}, matches=None),
            method="published",
            protocol=ProtocolRecord(
                plugin=self.name, runtime="as published", dtype=None, batch_size=1
            ),
            space=SpaceRecord(
                kind=kind,
                width_mult=tables[0].config.width_mult,
                resolutions=[table.resolution for table in tables],
            ),
            entries=[
                LutEntry.of(block, latency_ms, resolution=table.resolution, samples=samples)
                for table, block, latency_ms, samples in blocks
            ],
            source=source,
        )


def _check_same_network(tables: list[OfaTable]) -> None:
    """Refuse files of different networks.

    Raises:
        UserError: naming the first file that differs.
    """
    first = tables[0]
    for table in tables:
        if (table.config, table.kind) != (first.config, first.kind):
            raise UserError(
                f"{table.place}: {_network(table)}, but {first.place} is {_network(first)}"
            )


def _network(table: OfaTable) -> str:
    config = table.config
    return f"{table.kind}, width {config.width_mult:g}, {config.num_classes} classes"


PLUGIN = PublishedPlugin()
