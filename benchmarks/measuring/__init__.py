"""Evidence for docs/measuring.md: what each fault of a measurement does to the result.

`python -m benchmarks.measuring` prints it as Markdown: faults of known size on the simulated
device, faults of reading on a measured table, and two that need this machine's own runtime.
"""
