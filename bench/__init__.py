"""The bench: tables, figures and the report of the paper, and a gate for continuous integration."""
