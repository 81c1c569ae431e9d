"""Networks as files that run elsewhere: ONNX, PyTorch programs, TensorRT engines."""
