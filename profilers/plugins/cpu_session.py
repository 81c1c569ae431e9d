"""What sessions of runtimes on the CPU have in common: options, cores, records, reading files."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from pathlib import Path
from typing import Any

import onnx

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import fix_batch
from profilers.hardware.cores import pinned
from profilers.hardware.energy import processor_counter
from profilers.plugin import EnergyCounter, Runner, Session
from profilers.plugins.cpu_options import CpuOptions


class CpuSession(Session):
    """A runtime on the CPU with fixed options, timed by the monotonic clock.

    From its beginning until it is closed the process is kept on as many cores as it has threads,
    where the system allows it and the option `pin` is on.
    """

    def __init__(self, name: str, version: str, options: CpuOptions) -> None:
        """`name` is that of the plugin and of its runtime, `version` the runtime's."""
        self._name, self._version = name, version
        self._batch_size, self._dtype = options.batch_size, options.dtype
        self._threads = options.threads
        self._pinning = contextlib.ExitStack()
        pin = options.extra["pin"] == "on"
        self._cores = self._pinning.enter_context(pinned(self._threads)) if pin else None

    @property
    def protocol(self) -> ProtocolRecord:
        return ProtocolRecord(
            plugin=self._name,
            runtime=f"{self._name} {self._version}",
            dtype=self._dtype,
            batch_size=self._batch_size,
            threads=self._threads,
            clock="perf_counter",
            pinned=self._cores is not None,
            **self.settings(),
        )

    def settings(self) -> dict[str, Any]:
        """What else of the session's settings changes the result, as the protocol records it."""
        return {}

    def hardware(self) -> dict[str, Any]:
        found: dict[str, Any] = {self._name: self._version}
        return found | ({"pinned_cores": sorted(self._cores)} if self._cores else {})

    def energy(self) -> contextlib.AbstractContextManager[EnergyCounter]:
        return processor_counter()

    def close(self) -> None:
        self._pinning.close()

    def load(self, network: Path) -> Runner:
        if not network.is_file():
            raise UserError(f"{network}: no such file")
        try:
            model = onnx.load(network)
            fix_batch(model, self._batch_size)
            return self.open_model(model)
        except UserError as error:
            raise UserError(f"{network}: {error}") from None
        except Exception as error:  # protobuf, the system and the runtime each raise their own
            raise UserError(
                f"{network}: not a network that {self._name} runs: {self.reason(error)}"
            ) from None

    @abstractmethod
    def open_model(self, model: onnx.ModelProto) -> Runner:
        """What runs a model that was read from a file, whose batch is fixed, on random images.

        Raises:
            UserError: if it takes no images. Other errors are told as faults of the file.
        """

    def reason(self, error: Exception) -> str:
        """What is told of an error of the runtime."""
        lines = str(error).splitlines()
        return lines[0] if lines else type(error).__name__
