"""The kinds of file and of numbers that networks are exported as."""

from __future__ import annotations

from typing import Literal

Format = Literal["onnx", "torch", "tensorrt"]
DType = Literal["float32", "float16", "int8"]
