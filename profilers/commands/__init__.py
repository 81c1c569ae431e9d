"""The command line `fofa-profile`. The console script begins here: see `fofa.commands.start`.

So do those of the bench, by way of this: a stranger's distribution called fofa, too, holds a
package `fofa`. Where it took the place of ours, this is where a program can still say so.
"""

import importlib.util
import sys
from pathlib import Path

__all__ = ["GOES_ON", "OUR_DISTRIBUTION", "Program", "__version__", "fofa_profile"]
OUR_DISTRIBUTION = "fofa-nas"
"""`fofa/__init__.py` names it."""


def foreign_package() -> str | None:
    """Where the package `fofa` is if it is somebody else's."""
    found = importlib.util.find_spec("fofa")
    if found is None or found.origin is None:
        return None
    text = Path(found.origin).read_text(encoding="utf-8", errors="replace")
    return None if OUR_DISTRIBUTION in text else found.origin


try:
    from fofa import __version__  # a stranger's has none, where its files lie among ours
    from fofa.commands import GOES_ON
    from fofa.commands.start import Program
except Exception:  # a stranger's code may raise anything, and so may its syntax
    if (place := foreign_package()) is None:
        raise
    print(
        f"{Path(sys.argv[0]).name}: {place} is the package of another distribution called fofa: "
        f"pip uninstall fofa, then pip install --force-reinstall --no-deps {OUR_DISTRIBUTION}",
        file=sys.stderr,
    )
    sys.exit(2)

fofa_profile = Program(
    "fofa-profile",
    "profilers.commands.profile",
    "Measure a device: its latency table, or the latency of one network.",
    GOES_ON,
)
