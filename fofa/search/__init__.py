"""Constrained search: pairing latency with accuracy, exact and evolutionary search."""
