"""What a run writes about itself while it trains: a JSON-lines log, and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from fofa.files import write_text

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"


class RunLog:
    """Appends records to `log.jsonl` and scalars to TensorBoard, from `step` on.

    Records of steps that were lost with a killed process are dropped, so that every step is in the
    log once.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool = True) -> None:
        self._path = folder / LOG_NAME
        if self._path.is_file():
            self._drop_after(step)
        self._file = self._path.open("a", encoding="utf-8")
        self._writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / TENSORBOARD_NAME), purge_step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, record: dict[str, object]) -> None:
        """Append a record; its numbers also go to TensorBoard."""
        self._file.write(json.dumps({"step": step, **record}) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in record.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"train/{name}", value, step)

    def _drop_after(self, step: int) -> None:
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                # The line that was being written when the process was killed.
                continue
        write_text(self._path, "".join(kept))
