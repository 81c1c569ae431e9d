"""The command lines. Each module holds one command and no logic of its own.

The console scripts begin here, where nothing is imported yet: see `fofa.commands.start`.
"""

from fofa.commands.start import start

GOES_ON = "the same command goes on where it was"


def fofa_train() -> None:
    """The program `fofa-train`."""
    start("fofa-train", "fofa.commands.train")


def fofa_eval() -> None:
    """The program `fofa-eval`."""
    start("fofa-eval", "fofa.commands.evaluate", GOES_ON)


def fofa_search() -> None:
    """The program `fofa-search`."""
    start("fofa-search", "fofa.commands.search")


def fofa_export() -> None:
    """The program `fofa-export`."""
    start("fofa-export", "fofa.commands.export")


def fofa_finetune() -> None:
    """The program `fofa-finetune`."""
    start("fofa-finetune", "fofa.commands.finetune", GOES_ON)


def fofa_import() -> None:
    """The program `fofa-import`."""
    start("fofa-import", "fofa.commands.import_checkpoint")


def fofa_predictor() -> None:
    """The program `fofa-predictor`."""
    start("fofa-predictor", "fofa.commands.predictor")
