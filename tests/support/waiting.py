"""How long tests wait for programs that they start."""

PATIENCE_SECONDS = 900.0
"""Far beyond what any of them takes, also where other work keeps every core busy: only a program
that hangs takes longer. pytest's own limit for a test, in pyproject.toml, lies above it."""
