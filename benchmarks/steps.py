"""Programs called one after the other in a folder, each once, and what each of them cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fofa.errors import UserError
from fofa.files import read_json, write_text

FILE_NAME = "costs.json"
ROOT = Path(__file__).parents[1]
"""Where this package is found, which is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a step, over all calls until it was done: seconds by the clock and of the processors.

    Attributes:
        words: the command line, from the module on.
        output: what it printed when it was done; None until then.
    """

    name: str
    words: list[str]
    wall_seconds: float = 0.0
    core_seconds: float = 0.0
    output: str | None = None


class Steps:
    """The steps of a folder; what they cost stands in its `costs.json`.

    Raises:
        UserError: if that file is not one of costs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / FILE_NAME
        self._costs: dict[str, Cost] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.is_file():
            try:
                found = [Cost(**entry) for entry in read_json(self._file)["steps"]]
            except (KeyError, TypeError):
                raise UserError(f"{self._file}: not what steps cost; remove it") from None
            self._costs = {cost.name: cost for cost in found}

    @property
    def costs(self) -> list[Cost]:
        """In the order in which the steps began."""
        return list(self._costs.values())

    def run(self, name: str, module: str, *arguments: object) -> str:
        """What `python -m module arguments` prints, called in the folder unless that was done.

        A step that was stopped is called again; programs go on where they were.

        Raises:
            UserError: if it fails, or was done with other words.
        """
        words = [module, *map(str, arguments)]
        before = self._costs.get(name, Cost(name=name, words=words))
        if before.words != words:
            raise UserError(
                f"{self._file}: {name} was {' '.join(before.words)}, now {' '.join(words)}; "
                "take another folder"
            )
        if before.output is not None:
            return before.output
        wall, cores = time.monotonic(), _core_seconds_of_children()
        code, output = None, ""
        try:
            code, output = self._call(words)
        finally:
            self._costs[name] = replace(
                before,
                wall_seconds=round(before.wall_seconds + time.monotonic() - wall, 2),
                core_seconds=round(before.core_seconds + _core_seconds_of_children() - cores, 2),
                output=output if code == 0 else None,
            )
            self._write()
        if code != 0:
            raise UserError(f"{name} ended with exit code {code}; the same command goes on")
        return output

    def core_seconds(self, names: Iterable[str]) -> float:
        """Of some steps together."""
        return sum(self._costs[name].core_seconds for name in names)

    def _call(self, words: list[str]) -> tuple[int, str]:
        """The exit code, and standard output."""
        command = [sys.executable, "-m", *words]
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                output, _ = process.communicate()
            except BaseException:  # stopped: let it save what it has
                process.terminate()
                process.wait()
                raise
        return process.returncode, output

    def _write(self) -> None:
        steps = [asdict(cost) for cost in self.costs]
        write_text(self._file, json.dumps({"steps": steps}, indent=1) + "\n")


def _core_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
