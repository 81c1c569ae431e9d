"""Command lines of the bench."""
