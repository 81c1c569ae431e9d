"""The options of a plugin that runs on the CPU, the same for every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fofa.errors import UserError
from fofa.precision import Precision, parse_precision
from profilers.plugin import PluginOptions

PIN = ("on", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuOptions:
    """What a person chose, or fp32, a batch of one image, one thread and first choices.

    Attributes:
        extra: the plugin's own options, every one of them with a value.
    """

    batch_size: int
    dtype: Precision
    threads: int
    extra: Mapping[str, str]

    @classmethod
    def of(
        cls,
        plugin: str,
        options: PluginOptions,
        *,
        dtypes: Sequence[Precision],
        choices: Mapping[str, Sequence[str]],
        free: Mapping[str, str] | None = None,
    ) -> CpuOptions:
        """The options that a person chose.

        Args:
            choices: of the plugin's own options, their defaults first.
            free: those that the plugin checks itself, with their defaults.

        Raises:
            UserError: naming the option that is not possible.
        """
        dtype = parse_precision(options.dtype or "fp32", dtypes, option=f"{plugin}: dtype")
        batch_size = 1 if options.batch_size is None else options.batch_size
        threads = 1 if options.threads is None else options.threads
        if batch_size < 1 or threads < 1:
            raise UserError(
                f"{plugin}: batch size {batch_size} and {threads} threads, expected 1 or more"
            )
        if options.source is not None:
            raise UserError(f"{plugin} measures; it takes no source")
        defaults = {name: known[0] for name, known in choices.items()} | dict(free or {})
        if unknown := sorted(options.extra.keys() - defaults.keys()):
            raise UserError(
                f"{plugin}: unknown options {', '.join(unknown)}; known: {', '.join(defaults)}"
            )
        chosen = defaults | options.extra
        for name, known in choices.items():
            if chosen[name] not in known:
                raise UserError(
                    f"{plugin}: {name} {chosen[name]!r}, expected {' or '.join(sorted(known))}"
                )
        return cls(batch_size=batch_size, dtype=dtype, threads=threads, extra=chosen)
