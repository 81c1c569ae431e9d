"""The command line `fofa-profile`. The console script begins here: see `fofa.commands.start`."""

from fofa.commands import GOES_ON
from fofa.commands.start import start


def fofa_profile() -> None:
    """The program `fofa-profile`."""
    start("fofa-profile", "profilers.commands.profile", GOES_ON)
