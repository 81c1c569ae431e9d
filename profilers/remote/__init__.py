"""Measuring on another machine: what is carried there, what runs there, what comes back."""
