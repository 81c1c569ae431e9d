"""OFA's latency files: a YAML mapping from layer descriptions to times, one file per resolution.

    expanded_conv-input:112x112x24-output:56x56x32-expand:72-kernel:3-stride:2-idskip:0-se:0-hs:0:
      {count: 56, mean: 2.467, std: 0.024}

Sizes are height x width x channels, `mean` is in milliseconds, `count` the number of runs. The head
is four layers there (Conv_1, AvgPool2D, Conv_2, Logits) and one block here.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import math
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fofa.errors import UserError
from fofa.files import parse_yaml
from fofa.space import BlockSpec, NetworkConfig, SearchSpace, SpaceKind
from fofa.space.family import MOBILENETV3
from fofa.space.spaces import MAX_RESOLUTION, MIN_RESOLUTION

URL_TIMEOUT_SECONDS = 30.0
MAX_FILE_BYTES = 4 * 2**20
"""A file of OFA's has 15 kB; what is far larger is something else."""
WIDTH_DECIMALS = (1, 2, 3, 4)

_STEM = re.compile(r"Conv-input:(\d{1,4})x\1x3-output:(\d{1,4})x\2x(\d{1,5})", re.ASCII)
_LOGITS = re.compile(r"Logits-input:1x1x(\d{1,5})-output:(\d{1,6})", re.ASCII)
_EXPANSION = re.compile(r"Conv_1-input:(\d{1,4})x\1x(\d{1,5})-output:\1x\1x(\d{1,5})", re.ASCII)
_MBCONV = re.compile(
    r"expanded_conv-input:(\d{1,4})x\1x\d{1,5}-output:(\d{1,4})x\2x(\d{1,5})-expand:.*", re.ASCII
)


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Mean time of a layer and how often it was run (None where the file does not say)."""

    mean_ms: float
    count: int | None


@dataclass(frozen=True, slots=True)
class OfaTable:
    """One file: the layers' times, with the network that they belong to.

    Attributes:
        place: the file or URL, for messages.
        resolution: of the images, in pixels, as the stem's input says.
        config: width multiplier (inferred) and number of classes.
        layers: times by OFA's description of the layer.
    """

    place: str
    resolution: int
    config: NetworkConfig
    layers: Mapping[str, LayerTime]

    @property
    def kind(self) -> SpaceKind:
        """The space that the file is of: compound if it holds no block beyond that one's."""
        compound = {name for block in self._specs("compound") for name in layer_names(block)}
        elastic = {name for block in self._specs("elastic") for name in layer_names(block)}
        return "elastic" if self.layers.keys() & (elastic - compound) else "compound"

    def blocks(self, kind: SpaceKind) -> list[tuple[BlockSpec, float, int | None]]:
        """Every block of the space with its milliseconds and number of runs, in network order.

        Raises:
            UserError: naming the file and the first block that it lacks.
        """
        return [(block, *self._time(block)) for block in self._specs(kind)]

    def _specs(self, kind: SpaceKind) -> list[BlockSpec]:
        space = SearchSpace(kind=kind, resolutions=(self.resolution,))
        return space.unique_blocks(self.resolution, self.config)

    def _time(self, block: BlockSpec) -> tuple[float, int | None]:
        """Milliseconds of a block: the sum of its layers. Runs: of the layer with the fewest."""
        times = []
        for name in layer_names(block):
            if name not in self.layers:
                raise UserError(f"{self.place}: no entry for {block.key} ({name})")
            times.append(self.layers[name])
        counts = [time.count for time in times if time.count is not None]
        return math.fsum(time.mean_ms for time in times), min(counts, default=None)


def layer_names(block: BlockSpec) -> list[str]:
    """OFA's descriptions of the layers that make up a block."""
    size, out_size = block.in_size, block.out_size
    into, mid, out = block.in_channels, block.mid_channels, block.out_channels
    match block.key.position:
        case "stem":
            return [f"Conv-input:{size}x{size}x{into}-output:{out_size}x{out_size}x{out}"]
        case "head":
            return [
                f"Conv_1-input:{size}x{size}x{into}-output:{size}x{size}x{mid}",
                f"AvgPool2D-input:{size}x{size}x{mid}-output:1x1x{mid}",
                f"Conv_2-input:1x1x{mid}-output:1x1x{out}",
                f"Logits-input:1x1x{out}-output:{block.num_classes}",
            ]
        case _:
            return [
                f"expanded_conv-input:{size}x{size}x{into}-output:{out_size}x{out_size}x{out}"
                f"-expand:{mid}-kernel:{block.kernel}-stride:{block.stride}"
                f"-idskip:{int(block.residual)}-se:{int(block.squeeze_channels > 0)}"
                f"-hs:{int(block.activation == 'h_swish')}"
            ]


def read_tables(source: str, resolutions: Sequence[int]) -> tuple[str, list[OfaTable]]:
    """All tables of a source, by ascending resolution, and a line that identifies the source.

    Args:
        source: a folder of `<resolution>.yaml`, one such file, or the URL of such a folder
            (`resolutions` says which files to get from it).

    Raises:
        UserError: naming the file or URL and what is wrong with it.
    """
    if re.match(r"https?://", source, re.IGNORECASE):
        address = source.rstrip("/")
        places = [f"{address}/{resolution}.yaml" for resolution in resolutions]
        files = {place: _download(place) for place in places}
        name = address
    else:
        path = Path(source)
        files = {str(file): _read(file) for file in _yaml_files(path)}
        name = path.resolve().name
    tables = sorted(
        (parse_table(place, data) for place, data in files.items()),
        key=lambda table: table.resolution,
    )
    for before, after in itertools.pairwise(tables):
        if before.resolution == after.resolution:
            raise UserError(f"{after.place}: the same resolution as {before.place}")
    digest = hashlib.sha256(b"".join(files[table.place] for table in tables)).hexdigest()
    return f"OFA latency tables {name}, {len(tables)} files, sha256 {digest}", tables


def parse_table(place: str, data: bytes) -> OfaTable:
    """The table in a file's bytes.

    Raises:
        UserError: one line with the place and the first fault.
    """
    content = parse_yaml(place, data)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{place}: expected a YAML mapping from layers to times, as OFA writes it")
    layers = {str(name): _layer_time(place, str(name), time) for name, time in content.items()}
    resolution = int(_only(place, layers, _STEM, "stem (Conv-input:RxRx3-...)")[1])
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise UserError(
            f"{place}: resolution {resolution}, expected {MIN_RESOLUTION} to {MAX_RESOLUTION}"
        )
    stem = Path(place).stem
    if stem.isascii() and stem.isdigit() and int(stem) != resolution:
        raise UserError(f"{place}: holds resolution {resolution}, not the one in its name")
    return OfaTable(place, resolution, infer_config(place, layers), layers)


def infer_config(place: str, layers: Mapping[str, LayerTime]) -> NetworkConfig:
    """Width multiplier and number of classes, from the channel counts in the layers' names.

    The multiplier is the number of fewest decimals that gives every channel count of the file.

    Raises:
        UserError: if no multiplier does: the table is of another kind of network.
    """
    stem = int(_only(place, layers, _STEM, "stem (Conv-input:RxRx3-...)")[3])
    expansion = _only(place, layers, _EXPANSION, "final expansion (Conv_1-input:...)")
    logits = _only(place, layers, _LOGITS, "classifier (Logits-input:1x1xC-output:N)")
    mid, feature, classes = int(expansion[3]), int(logits[1]), int(logits[2])
    if classes < 2:
        raise UserError(f"{place}: {classes} classes, expected at least 2")
    head = MOBILENETV3.head
    outputs = {int(match[3]) for name in layers if (match := _MBCONV.fullmatch(name))}
    for decimals in WIDTH_DECIMALS:
        for ratio in (feature / (head.feature_channels or head.channels), mid / head.channels):
            width = round(ratio, decimals)
            if not 0 < width <= 16:
                continue
            config = NetworkConfig(width_mult=width, num_classes=classes)
            widths = (config.stem_channels, config.head_channels, config.feature_channels)
            if widths == (stem, mid, feature) and outputs == {
                config.first_channels,
                *config.stage_channels,
            }:
                return config
    raise UserError(
        f"{place}: channel counts {stem}, {sorted(outputs)}, {mid}, {feature} are not those of "
        "MobileNetV3 (24, 40, 80, 112, 160, ...) times one width multiplier"
    )


def _only(
    place: str, layers: Mapping[str, LayerTime], pattern: re.Pattern[str], what: str
) -> re.Match[str]:
    found = [match for name in layers if (match := pattern.fullmatch(name))]
    if len(found) != 1:
        raise UserError(f"{place}: {len(found)} entries for the {what}, expected one")
    return found[0]


def _layer_time(place: str, name: str, value: Any) -> LayerTime:
    shown = name if len(name) <= 80 else name[:77] + "..."
    mean = value.get("mean") if isinstance(value, dict) else None
    if isinstance(mean, bool) or not isinstance(mean, int | float):
        raise UserError(f"{place}: {shown}: expected a mapping with a number 'mean' (ms)")
    if not 0 < mean <= sys.float_info.max:  # YAML's integers have no end
        raise UserError(
            f"{place}: {shown}: mean is {str(mean)[:20]}, expected milliseconds above 0"
        )
    count = value.get("count")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        raise UserError(f"{place}: {shown}: count is {count!r}, expected a whole number")
    return LayerTime(float(mean), count)


def _yaml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in path.glob("*.yaml") if re.fullmatch(r"[0-9]+", file.stem, re.ASCII)]
    if not files:
        raise UserError(f"{path}: no <resolution>.yaml in this folder")
    return sorted(files, key=lambda file: int(file.stem))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    return _checked_size(str(path), data)


def _download(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=URL_TIMEOUT_SECONDS) as answer:
            data = answer.read(MAX_FILE_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{address}: the server answers {error.code} {error.reason} "
            "(choose the resolutions that it has with --resolutions)"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{address}: cannot get it: {reason}") from None
    return _checked_size(address, data)


def _checked_size(place: str, data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise UserError(f"{place}: larger than {MAX_FILE_BYTES} bytes, not a latency table")
    return data
