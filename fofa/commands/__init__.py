"""The command lines. Each module holds one command and no logic of its own."""
