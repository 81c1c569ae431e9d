"""Hardware: named devices, what a machine is, NVML, peak rates."""
