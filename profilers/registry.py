"""Which profiler plugins are installed: found by entry point, loaded when chosen.

A plugin is an entry point in the group `fofa.profilers` that names a `Plugin` object or class.
Loading one imports its module, which must not import its runtime. A plugin of somebody else's that
is broken takes nothing down: it is listed as unavailable, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from fofa.errors import UserError
from profilers.plugin import ENTRY_POINT_GROUP, Availability, Plugin


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One installed plugin as `fofa-profile --list` shows it; `plugin` is None if it is broken."""

    name: str
    summary: str
    plugin: Plugin | None
    availability: Availability


def installed() -> dict[str, EntryPoint]:
    """Entry points by plugin name, sorted; of two with one name the first found counts."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(point.name, point)
    return dict(sorted(found.items()))


def load_plugin(name: str, points: dict[str, EntryPoint] | None = None) -> Plugin:
    """The plugin called `name`.

    Raises:
        UserError: if there is none (the message lists those that exist) or it cannot be loaded.
    """
    points = installed() if points is None else points
    if name not in points:
        raise UserError(f"no profiler plugin {name!r}; installed: {', '.join(points) or 'none'}")
    plugin, reason = _load(points[name])
    if plugin is None:
        raise UserError(f"profiler plugin {name!r} is broken: {reason}")
    return plugin


def list_plugins(points: dict[str, EntryPoint] | None = None) -> list[PluginStatus]:
    """Every installed plugin with whether it can run here; nothing a plugin does stops this."""
    points = installed() if points is None else points
    return [_status(name, point) for name, point in points.items()]


def _status(name: str, point: EntryPoint) -> PluginStatus:
    plugin, reason = _load(point)
    if plugin is None:
        return PluginStatus(name, "", None, Availability(False, f"broken: {reason}"))
    try:
        available = plugin.availability()
    except Exception as error:  # somebody else's code: any fault of it is a line in a list
        available = Availability(False, f"broken: {_describe(error)}")
    return PluginStatus(name, plugin.summary, plugin, available)


def _load(point: EntryPoint) -> tuple[Plugin | None, str]:
    """The plugin, or None and the reason it cannot be loaded."""
    try:
        loaded = point.load()
        plugin = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # somebody else's code: any fault of it is a line in a list
        return None, _describe(error)
    if not isinstance(plugin, Plugin):
        return (
            None,
            f"{point.value} is a {type(plugin).__name__}, expected a profilers.plugin.Plugin",
        )
    return plugin, ""


def _describe(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
