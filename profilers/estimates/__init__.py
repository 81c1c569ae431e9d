"""Estimates of latency from data sheets: networks as operators, as kernels, and their time."""
