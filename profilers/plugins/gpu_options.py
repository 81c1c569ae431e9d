"""The options of a plugin that runs on a GPU, the same for PyTorch and TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fofa.errors import UserError
from fofa.precision import short_precision
from fofa.runtime.graph import GRAPH_TYPES
from fofa.runtime.tensorrt import DEFAULT_BATCH_SIZE
from profilers.plugin import PluginOptions

L2_STATES = ("warm", "cold")
SWITCH = ("off", "on")
LAUNCHES = ("hidden", "included")
MEMORY_FORMATS = ("contiguous", "channels_last")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOptions:
    """The options of a plugin that runs on a GPU.

    Attributes:
        l2: `warm` leaves the L2 cache as the last run left it, `cold` empties it before each run.
        graphs: whether a run is captured once and replayed as a CUDA graph, which the host starts
            with one launch.
        launch: `hidden` times the GPU alone: every run is queued whole before it starts, as in a
            stream of batches in which the host is ahead. `included` starts on an idle GPU, so that
            the host's launches count where the GPU waits for them. Unless chosen, `hidden` with
            graphs and `included` without: kernel by kernel the host may well be what limits.
        memory_format: of a module's images and weights, None for a runtime that chooses itself.
    """

    batch_size: int
    dtype: str
    l2: str = "warm"
    graphs: bool = False
    launch: str = "included"
    memory_format: str | None = None

    @classmethod
    def of(
        cls,
        plugin: str,
        options: PluginOptions,
        *,
        dtype: str,
        graphs: bool = False,
        memory_formats: bool = False,
    ) -> GpuOptions:
        """The options that a person chose; `dtype`, `graphs` and batch 64 where nothing was.

        Args:
            memory_formats: whether the plugin takes one. Default then: channels-last in fp16, for
                which tensor cores are made, and contiguous in fp32.

        Raises:
            UserError: naming the option that is not possible.
        """
        extra = options.extra
        chosen = short_precision(options.dtype or dtype)
        batch_size = DEFAULT_BATCH_SIZE if options.batch_size is None else options.batch_size
        values = {
            "graphs": (extra.get("graphs", SWITCH[graphs]), SWITCH),
            "l2": (extra.get("l2", "warm"), L2_STATES),
        }
        follows = "hidden" if values["graphs"][0] == "on" else "included"
        values["launch"] = (extra.get("launch", follows), LAUNCHES)
        if memory_formats:
            usual = "channels_last" if chosen == "fp16" else "contiguous"
            values["memory_format"] = (extra.get("memory_format", usual), MEMORY_FORMATS)
        unknown = sorted(extra.keys() - values.keys())
        if unknown:
            raise UserError(
                f"{plugin}: unknown options {', '.join(unknown)}; known: {', '.join(values)}"
            )
        if options.source is not None:
            raise UserError(f"{plugin}: it measures, so there is no source to give")
        if options.threads is not None:
            raise UserError(f"{plugin}: a GPU has no number of threads to choose")
        if batch_size < 1:
            raise UserError(f"{plugin}: batch size {batch_size}, expected 1 or more")
        for name, (value, known) in {"dtype": (chosen, tuple(GRAPH_TYPES)), **values}.items():
            if value not in known:
                raise UserError(f"{plugin}: {name} {value!r}, expected {' or '.join(known)}")
        return cls(
            batch_size=batch_size,
            dtype=chosen,
            l2=values["l2"][0],
            graphs=values["graphs"][0] == "on",
            launch=values["launch"][0],
            memory_format=values["memory_format"][0] if memory_formats else None,
        )

    def protocol_fields(self) -> dict[str, Any]:
        """How it is measured, as a table records it. Copies from and to the host are not timed."""
        return {
            "clock": "CUDA events",
            "tf32": False,
            "l2": self.l2,
            "cuda_graphs": self.graphs,
            "launch": self.launch,
            "copies": "excluded",
        }
