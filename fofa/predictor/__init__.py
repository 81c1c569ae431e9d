"""Accuracy prediction in the elastic space, which is too large to measure subnet by subnet."""
