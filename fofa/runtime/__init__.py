"""The deployed network: one graph builder for export and measuring, BatchNorm folding, TensorRT."""
