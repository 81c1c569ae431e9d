"""A session on another machine, as any plugin's: networks are lowered here and run over there.

For single networks (`--network`) and for whoever measures through the plugin contract. An agent
over there answers requests, a line each; a visit is one request, so that no link's delay is between
two runs. Tables are measured by an agent that needs no link meanwhile (`profilers.remote.carry`).
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import secrets
import selectors
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import onnx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fofa.errors import UserError
from fofa.files import explain, parse_json
from fofa.latency import ProtocolRecord
from fofa.runtime.graph import fix_batch
from fofa.space import BlockSpec
from profilers.plugin import (
    Availability,
    MeasuringPlugin,
    Meter,
    PluginOptions,
    Runner,
    Session,
)
from profilers.remote.bundle import make_server
from profilers.remote.carry import unpack_script
from profilers.remote.request import PLUGIN, RemoteOptions
from profilers.remote.samples import (
    MAX_MS,
    Cores,
    MachineRecord,
    Number,
    Provider,
    RoundState,
    RuntimeName,
    StateRecord,
    protocol_of,
)
from profilers.remote.transport import LinkError, Transport, end_group, readable
from profilers.remote.weightless import Weightless, weightless

Kind = TypeVar("Kind", bound=BaseModel)
ANSWER_SECONDS = 600.0
CLOSING_SECONDS = 2.0
MAX_ANSWER_BYTES = 1_000_000


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(_Answer):
    """Done."""


class Fault(_Answer):
    """Not done, and why."""

    fault: str = Field(max_length=500)


class MachineAnswer(_Answer):
    """What the machine is, and what its agent does."""

    runtime: RuntimeName
    provider: Provider
    pinned_cores: Cores | None
    machine: MachineRecord
    state: StateRecord


class MeterAnswer(_Answer):
    """Work of others since the last request of this kind."""

    other_cpu_percent: Number | None
    steal_percent: Number | None
    machine_cpu_percent: Number | None


class VisitAnswer(_Answer):
    """Recorded runs."""

    samples_ms: list[float] = Field(max_length=100_000)


class RemotePlugin(MeasuringPlugin):
    """ONNX Runtime on the machine that a transport leads to."""

    name = PLUGIN
    summary: ClassVar[str] = "ONNX Runtime on another machine"

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def availability(self) -> Availability:
        return Availability(True)

    def open(self, options: PluginOptions) -> RemoteSession:
        return RemoteSession(self._transport, RemoteOptions.of(options))


class RemoteSession(Session):
    """An agent that answers, in a folder of its own that is removed when the session is closed.

    Raises:
        UserError: if the machine is not reached or has not what the agent needs.
    """

    def __init__(self, transport: Transport, options: RemoteOptions) -> None:
        self._transport, self._options = transport, options
        self._folder = f"{transport.home}/.fofa-{secrets.token_hex(10)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._numbers = itertools.count()
        try:
            self._start()
            self._about = self._machine()
        except LinkError as error:
            self.close()
            raise UserError(f"{transport.name}: not reached: {error}") from None
        except UserError:
            self.close()
            raise

    @property
    def protocol(self) -> ProtocolRecord:
        options, about = self._options, self._about
        return protocol_of(
            runtime=about.runtime,
            dtype=options.dtype,
            batch_size=options.batch_size,
            threads=options.threads,
            provider=about.provider,
            pinned=about.pinned_cores is not None,
        )

    def machine(self) -> dict[str, Any]:
        about = self._machine()
        return {**about.machine.model_dump(), "state": about.state.model_dump()}

    def meter(self) -> Meter:
        return lambda: self._ask({"do": "meter"}, MeterAnswer).model_dump()

    def hardware(self) -> dict[str, Any]:
        cores = self._about.pinned_cores
        version = self._about.runtime.partition(" ")[2]
        return {PLUGIN: version, **({"pinned_cores": cores} if cores else {})}

    def environment(self) -> dict[str, Any]:
        return self._ask({"do": "state"}, RoundState).model_dump()

    def lower(self, blocks: Sequence[BlockSpec]) -> Runner:
        return self._open(weightless(blocks, self._options.batch_size, self._options.dtype))

    def load(self, network: Path) -> Runner:
        if not network.is_file():
            raise UserError(f"{network}: no such file")
        try:
            model = onnx.load(network)
            fix_batch(model, self._options.batch_size)
            return self._open(Weightless(model.SerializeToString(), (), {}, {}))
        except UserError as error:
            raise UserError(f"{network}: {error}") from None
        except Exception as error:  # protobuf and the operating system each raise their own
            raise UserError(f"{network}: no readable ONNX file: {error}") from None

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(CLOSING_SECONDS)
            end_group(process)
            if process.stdout is not None:
                process.stdout.close()
        with contextlib.suppress(LinkError, UserError):
            self._transport.run(f"rm -rf {self._folder}")

    def visit(self, number: int, warmup: int, samples: int) -> list[float]:
        """Runs of a network over there, in a row (for its runner)."""
        request = {"do": "visit", "network": number, "warmup": warmup, "samples": samples}
        found = self._ask(request, VisitAnswer).samples_ms
        if len(found) != samples or not all(0 < ms <= MAX_MS for ms in found):
            raise UserError(f"{self._transport.name}: the agent answers with other runs than asked")
        return found

    def release(self, number: int) -> None:
        """Let a network over there go (for its runner)."""
        if self._process is not None:
            self._ask({"do": "close", "network": number}, Nothing)

    def _open(self, network: Weightless) -> Runner:
        number = next(self._numbers)
        request = {
            "do": "open",
            "network": number,
            "model": base64.b64encode(network.model).decode(),
            "input": network.input_shape,
            "weights": [[name, cut.travelling()] for name, cut in network.weights.items()],
            "layers": [[name, layer.travelling()] for name, layer in network.layers.items()],
        }
        self._ask(request, Nothing)
        return RemoteRunner(self, number)

    def _machine(self) -> MachineAnswer:
        return self._ask({"do": "machine"}, MachineAnswer)

    def _start(self) -> None:
        folder, python = self._folder, shlex.quote(self._options.python)
        made = self._transport.run(f"umask 077; mkdir -m 700 {folder} 2>&1")
        if made.status:
            raise UserError(f"no folder can be made there: {readable(made.output)}")
        self._transport.put(make_server(self._options), f"{folder}/bundle.zip")
        unpacked = self._transport.run(unpack_script(folder, self._options.python))
        if unpacked.status:
            raise UserError(
                f"{self._options.python} cannot unpack the agent there (--option python=PATH): "
                f"{readable(unpacked.output)}"
            )
        word = f"begin-{secrets.token_hex(8)}"
        # However the link ends: the agent's input ends with it, then the shell cleans up.
        script = f"cd {folder} && echo {word} && {python} agent.py --serve; cd /; rm -rf {folder}"
        self._process = subprocess.Popen(
            self._transport.command(script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while self._line() != word.encode():  # what a login shell says before
            pass

    def _ask(self, request: dict[str, Any], kind: type[Kind]) -> Kind:
        source = Path(f"{self._transport.name}: the agent's answer")
        if self._process is None or self._process.stdin is None:
            raise UserError(f"{self._transport.name}: the session is closed")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise UserError(f"{self._transport.name}: the link broke") from None
        try:
            text = self._line().decode("utf-8")
            found = parse_json(text, source)
            if isinstance(found, dict) and "fault" in found:
                raise UserError(readable(Fault.model_validate(found).fault.encode()))
            return kind.model_validate_json(text, strict=True)
        except UnicodeDecodeError:
            raise UserError(f"{source}: not text") from None
        except ValidationError as error:
            raise UserError(f"{source}: {explain(error)}") from None

    def _line(self) -> bytes:
        """The next line over there.

        Raises:
            UserError: if it is too long, does not come in time, or the link broke.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise UserError(f"{self._transport.name}: the agent does not answer")
                piece = os.read(self._process.stdout.fileno(), 65_536)
                if not piece:
                    raise UserError(f"{self._transport.name}: the agent ended, or the link broke")
                self._rest += piece
                if len(self._rest) > MAX_ANSWER_BYTES:
                    raise UserError(f"{self._transport.name}: the agent's answer has no end")
        line, _, self._rest = self._rest.partition(b"\n")
        return line


class RemoteRunner(Runner):
    """A network on the other machine, whose own clock times it."""

    def __init__(self, session: RemoteSession, number: int) -> None:
        self._session, self._number = session, number

    def run(self) -> float:
        return self.visit(0, 1)[0]

    def visit(self, warmup: int, samples: int) -> list[float]:
        return self._session.visit(self._number, warmup, samples)

    def close(self) -> None:
        self._session.release(self._number)
