"""Figures as PNG and SVG: Figure 1, Figure 4, and the Pareto front of every device."""
