"""The accuracy predictor: a multilayer perceptron, applied to whole populations in numpy.

A predictor file is safetensors: `layers.<i>.weight` (out, in) and `layers.<i>.bias`, float32, with
its `PredictorRecord` as JSON in the metadata. OFA's own file (a PyTorch state dict) loads too, by
PyTorch's `weights_only` reader, which runs no code from the file.

What it sees of an architecture are one-hot numbers in the layout of OFA's predictor: for each block
slot (20 of MobileNetV3) a kernel (3, 5, 7), then for each slot an expand ratio (3, 4, 6), both all
zero where the depth leaves the block out; then a resolution.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fofa.accuracy import ProxyRecord, SpaceRecord
from fofa.errors import UserError
from fofa.files import FileModel
from fofa.space import Family
from fofa.space.encoding import Population, encoding_of
from fofa.tensor_files import check_plain, read_arrays, read_saved, write_arrays

METADATA_KEY = "fofa"
OFA_RESOLUTIONS = tuple(range(112, 225, 16))
"""The resolutions that OFA's predictor has a feature for."""
LARGEST = 25.0
"""A prediction beyond is no accuracy, and no error of training makes one: a percentage, perhaps."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class HeldOutRecord(BaseModel):
    """How good the predictor is on architectures that it was not trained on.

    Errors in percentage points of top-1; `kendall_tau` is None where ranks say nothing (fewer than
    two architectures, or all equal).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architectures: Annotated[int, Field(ge=1)]
    kendall_tau: Annotated[float, Field(ge=-1, le=1)] | None
    mean_error: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_error: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PredictorRecord(FileModel):
    """What a predictor predicts and how well (schema `fofa.predictor/1`)."""

    SCHEMA: ClassVar[str] = "fofa.predictor"
    VERSION: ClassVar[int] = 1

    recipe: str
    dataset: str
    space: SpaceRecord
    num_classes: Annotated[int, Field(ge=2, le=10**6)] = 1000
    proxy: ProxyRecord | None = None
    trained_on: Count | None = None
    held_out: HeldOutRecord | None = None
    seed: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A loaded predictor.

    Attributes:
        record: what it predicts; its resolutions are those that have a feature, in order.
        weights: float32 (in, out) for each layer, the last with one output.
        biases: float32 (out,) for each layer.
    """

    record: PredictorRecord
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The resolutions it can predict at."""
        return tuple(self.record.space.resolutions)

    def predict(self, population: Population) -> np.ndarray:
        """Predicted top-1 accuracy of each architecture as a fraction (0.77 is 77%), float64 (N,).

        Raises:
            UserError: if the population has a resolution that the predictor has no feature for, or
                what comes out is no accuracy (no number, or far from a fraction).
        """
        hidden = features(population, self.resolutions)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes out is looked at
            for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
                hidden = hidden @ weight
                hidden += bias
                np.maximum(hidden, 0.0, out=hidden)
            out = (hidden @ self.weights[-1] + self.biases[-1])[:, 0].astype(np.float64)
        strange = np.flatnonzero(~(np.abs(out) <= LARGEST))
        if len(strange):
            row = int(strange[0])
            raise UserError(
                f"the predictor gives {out[row]:.3g} for {population.architecture(row).name}, "
                "expected a fraction such as 0.77"
            )
        return out

    def save(self, path: Path) -> None:
        """Write the predictor as safetensors, atomically."""
        tensors = {}
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors[f"layers.{index}.weight"] = np.ascontiguousarray(weight.T)
            tensors[f"layers.{index}.bias"] = bias
        write_arrays(path, tensors, {METADATA_KEY: self.record.to_json()})


def features(population: Population, resolutions: tuple[int, ...]) -> np.ndarray:
    """Features of each architecture, float32 (N, block features + number of resolutions).

    Args:
        resolutions: those the predictor has a feature for, in its order.

    Raises:
        UserError: if the population uses another resolution.
    """
    num, family = len(population), population.family
    choices, width = encoding_of(family).choices, num_block_features(family)
    kernel_table = _one_hot(family.kernels, [choice.kernel for choice in choices])
    expand_table = _one_hot(family.expands, [choice.expand for choice in choices])
    out = np.zeros((num, width + len(resolutions)), dtype=np.float32)
    split = width * len(family.kernels) // (len(family.kernels) + len(family.expands))
    out[:, :split] = kernel_table[population.codes].reshape(num, split)
    out[:, split:width] = expand_table[population.codes].reshape(num, width - split)
    columns = _resolution_columns(population.resolutions, resolutions)
    out[np.arange(num), width + columns[population.resolution_index]] = 1.0
    return out


def num_block_features(family: Family) -> int:
    """Number of features that describe a subnet (120 of MobileNetV3); a resolution's follow."""
    return encoding_of(family).num_slots * (len(family.kernels) + len(family.expands))


def _resolution_columns(wanted: tuple[int, ...], known: tuple[int, ...]) -> np.ndarray:
    """Index in `known` of each resolution in `wanted`, intp (len(wanted),).

    Raises:
        UserError: naming the resolutions that are not known.
    """
    unknown = [resolution for resolution in wanted if resolution not in known]
    if unknown:
        raise UserError(f"the predictor has no resolution {unknown}, only {list(known)}")
    return np.array([known.index(resolution) for resolution in wanted], dtype=np.intp)


def _one_hot(values: tuple[int, ...], of_choice: list[int]) -> np.ndarray:
    """One-hot vector for every block code (codes, len(values)); zeros for an absent block."""
    table = np.zeros((len(of_choice) + 1, len(values)), dtype=np.float32)
    for code, value in enumerate(of_choice, start=1):
        table[code, values.index(value)] = 1.0
    return table


def load_predictor(path: Path) -> Predictor:
    """Read a predictor: this project's safetensors file, or OFA's state dict (`.pth`, `.pt`).

    Raises:
        UserError: if the file is missing, damaged, of another kind, or would run code.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix in (".pth", ".pt"):
        return _load_ofa(path)
    tensors, metadata = read_arrays(path)
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise UserError(f"{path}: safetensors without a predictor's metadata ({METADATA_KEY!r})")
    record = PredictorRecord.parse(text, path)
    weights, biases = _layers(path, tensors, r"layers\.(\d+)\.(weight|bias)")
    return _checked(path, Predictor(record, weights, biases))


def _load_ofa(path: Path) -> Predictor:
    """OFA's predictor: a state dict of a sequential network, layers at even indices."""
    import torch

    state = read_saved(path, "a state dict that can be read safely")
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and value.dtype == torch.float32
        for name, value in state.items()
    ):
        raise UserError(f"{path}: expected a state dict of float32 tensors")
    for name, value in state.items():
        check_plain(value, f"{path}: {name}")
    tensors = {name: value.detach().numpy() for name, value in state.items()}
    weights, biases = _layers(path, tensors, r"(\d+)\.(weight|bias)")
    record = PredictorRecord(
        recipe="ofa",
        dataset="imagenet",
        space=SpaceRecord(kind="elastic", width_mult=1.0, resolutions=list(OFA_RESOLUTIONS)),
        source=f"published by OFA ({path.name})",
    )
    return _checked(path, Predictor(record, weights, biases))


def _layers(
    path: Path, tensors: dict[str, np.ndarray], pattern: str
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Weights (in, out) and biases in the order of the layer numbers in the tensors' names."""
    found: dict[int, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(pattern, name, re.ASCII)
        if match is None or len(match[1]) > 4:
            raise UserError(f"{path}: unexpected tensor {name[:60]!r} in a predictor")
        found.setdefault(int(match[1]), {})[match[2]] = tensor
    layers = [found[number] for number in sorted(found)]
    if not layers or any(set(layer) != {"weight", "bias"} for layer in layers):
        raise UserError(f"{path}: expected a weight and a bias for every layer")
    if any(layer["weight"].ndim != 2 or layer["bias"].ndim != 1 for layer in layers):
        raise UserError(f"{path}: expected weights of two dimensions and biases of one")
    weights = tuple(np.ascontiguousarray(layer["weight"].T) for layer in layers)
    return weights, tuple(layer["bias"] for layer in layers)


def _checked(path: Path, predictor: Predictor) -> Predictor:
    """`predictor`, if its layers fit each other, its features and one output."""
    width = num_block_features(predictor.record.space.family) + len(predictor.resolutions)
    for weight, bias in zip(predictor.weights, predictor.biases, strict=True):
        if weight.shape[0] != width or weight.shape[1] != len(bias):
            raise UserError(
                f"{path}: a layer of shape {weight.shape[::-1]} where {width} inputs come in"
            )
        if weight.dtype != np.float32 or bias.dtype != np.float32:
            raise UserError(f"{path}: expected float32 weights")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise UserError(f"{path}: weights that are not finite numbers")
        width = len(bias)
    if width != 1:
        raise UserError(f"{path}: the last layer has {width} outputs, expected 1")
    return predictor
