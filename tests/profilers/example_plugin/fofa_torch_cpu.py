"""A complete plugin: PyTorch on the CPU, as `fofa-profile --device torch-cpu`."""

import time
from importlib.util import find_spec

from fofa.errors import UserError
from fofa.latency import ProtocolRecord
from profilers.plugin import Availability, MeasuringPlugin, Runner, Session


class TorchCpuPlugin(MeasuringPlugin):
    name = "torch-cpu"
    summary = "PyTorch on the CPU, one thread"

    def availability(self):
        found = find_spec("torch") is not None  # finds it without importing it
        return Availability(found, "" if found else "not installed: pip install torch")

    def open(self, options):
        batch_size = 1 if options.batch_size is None else options.batch_size
        if (
            batch_size < 1
            or options.dtype not in (None, "fp32")
            or options.threads not in (None, 1)
        ):
            raise UserError("torch-cpu: expected a batch size above 0, fp32 and one thread")
        if options.extra or options.source:
            raise UserError("torch-cpu: it takes no further options and no source")
        return TorchCpuSession(batch_size)


class TorchCpuSession(Session):
    def __init__(self, batch_size):
        import torch  # the runtime is imported when it is needed, not before

        self.torch, self.batch_size, self.threads = torch, batch_size, torch.get_num_threads()
        torch.set_num_threads(1)

    @property
    def protocol(self):
        runtime = f"torch {self.torch.__version__}"
        return ProtocolRecord(
            plugin="torch-cpu", runtime=runtime, dtype="fp32", batch_size=self.batch_size, threads=1
        )

    def lower(self, blocks):
        from fofa.runtime.torch_graph import build_module

        first = blocks[0]
        shape = (self.batch_size, first.in_channels, first.in_size, first.in_size)
        return TorchCpuRunner(self.torch, build_module(blocks), self.torch.randn(shape))

    def load(self, network):
        raise UserError(f"{network}: torch-cpu runs no ONNX files")

    def close(self):
        self.torch.set_num_threads(self.threads)


class TorchCpuRunner(Runner):
    def __init__(self, torch, module, images):
        self.torch, self.module, self.images = torch, module, images

    def run(self):
        with self.torch.inference_mode():
            start = time.perf_counter()
            self.module(self.images)
            return 1e3 * (time.perf_counter() - start)

    def close(self):
        self.module = self.images = None


PLUGIN = TorchCpuPlugin()
