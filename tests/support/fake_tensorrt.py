"""TensorRT without a GPU, in the shape of the real bindings: what is built, kept, loaded and run.

`REAL_CLASSES` says which class of the bindings each part stands for, so that a test compares names.
"""

import types

from fofa.runtime.tensorrt import TensorRt


class Bytes(bytes):
    """IHostMemory: anything that `bytes()` takes."""


class TimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return Bytes(self.content)


class BuilderConfig:
    def __init__(self, fake):
        self.fake = fake
        self.timings = None
        self.num_compute_capabilities = 0

    def clear_flag(self, flag):
        pass

    def set_compute_capability(self, capability, index):
        pass

    def create_timing_cache(self, serialized_timing_cache):
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        if cache.content.startswith(b"another GPU"):
            return False
        self.timings = cache
        return True


class Builder:
    def __init__(self, fake):
        self.fake = fake

    def create_network(self, flags):
        return types.SimpleNamespace(num_outputs=1)

    def create_builder_config(self):
        return BuilderConfig(self.fake)

    def build_serialized_network(self, network, config):
        fake = self.fake
        fake.built += 1
        fake.given_timings.append(None if config.timings is None else config.timings.content)
        if config.timings is not None:
            config.timings.content += b"t"
        return Bytes(b"engine %d" % fake.built)


class RuntimeCache:
    def __init__(self, fake):
        self.fake = fake
        self.content = b""

    def deserialize(self, blob):
        if blob.startswith(b"another driver"):
            return False
        self.content = blob
        return True

    def serialize(self):
        return Bytes(self.content + b"k")


class RuntimeConfig:
    def __init__(self, fake):
        self.fake = fake
        self.strategy = self.cache = None

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return RuntimeCache(self.fake)

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class ExecutionContext:
    def __init__(self, fake, strategy):
        self.fake = fake
        self.strategy = strategy
        self.addresses, self.streams, self.device_memories = {}, [], []

    def set_device_memory(self, memory, size):
        self.device_memories.append((memory, size))

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.streams.append(stream)
        return self.fake.runs


class CudaEngine:
    """Three fp32 images in, fp16 scores out, unless a test says otherwise."""

    num_io_tensors = 2

    def __init__(self, fake, content=b""):
        self.fake = fake
        self.content = content
        self.shapes = {"input": (fake.batch_size, 2, 4, 4), "output": (fake.batch_size, 10)}
        self.dtypes = {"input": "float", "output": "half"}
        self.device_memory_size_v2 = fake.scratch_bytes
        self.configs = []

    def create_runtime_config(self):
        self.configs.append(RuntimeConfig(self.fake))
        return self.configs[-1]

    def create_execution_context(self, chosen):
        if not self.fake.starts:
            return None
        strategy = getattr(chosen, "strategy", chosen)
        self.fake.contexts.append(ExecutionContext(self.fake, strategy))
        return self.fake.contexts[-1]

    def get_tensor_name(self, index):
        return list(self.shapes)[index]

    def get_tensor_mode(self, name):
        return name

    def get_tensor_dtype(self, name):
        return self.dtypes[name]

    def get_tensor_shape(self, name):
        return self.shapes[name]


class Runtime:
    def __init__(self, fake):
        self.fake = fake

    def deserialize_cuda_engine(self, content):
        if not content.startswith(b"engine") or content in self.fake.refused:
            self.fake.runtime.messages.append("it is of another version")
            return None
        self.fake.loaded.append(content)
        return CudaEngine(self.fake, content)


REAL_CLASSES = {
    "ITimingCache": TimingCache,
    "IBuilderConfig": BuilderConfig,
    "Builder": Builder,
    "IRuntimeCache": RuntimeCache,
    "IRuntimeConfig": RuntimeConfig,
    "IExecutionContext": ExecutionContext,
    "ICudaEngine": CudaEngine,
    "Runtime": Runtime,
}


class FakeTensorRt:
    """The bindings, what they were asked for, and how they answer.

    Attributes:
        built, given_timings: how many engines, with the content of which timing caches.
        loaded, refused: engines that were loaded, and that are not to be.
        contexts: that were made.
        runtime: what `load_tensorrt` would give.
    """

    def __init__(self, name="TensorRT"):
        self.built = 0
        self.given_timings, self.loaded, self.contexts = [], [], []
        self.refused = set()
        self.batch_size = 3
        self.scratch_bytes = 1000
        self.runs = self.starts = True
        module = types.SimpleNamespace(
            TensorIOMode=types.SimpleNamespace(INPUT="input"),
            DataType=types.SimpleNamespace(FLOAT="float", HALF="half"),
            ExecutionContextAllocationStrategy=types.SimpleNamespace(USER_MANAGED="user's"),
            NetworkDefinitionCreationFlag=types.SimpleNamespace(STRONGLY_TYPED=1),
            BuilderFlag=types.SimpleNamespace(TF32="tf32"),
            OnnxParser=lambda network, logger: types.SimpleNamespace(
                parse=lambda model: True, num_errors=0
            ),
            Builder=lambda logger: Builder(self),
            Runtime=lambda logger: Runtime(self),
        )
        if name == "TensorRT-RTX":
            module.IRuntimeCache = RuntimeCache
            module.ComputeCapability = types.SimpleNamespace(__members__={"SM80": 80}, SM80=80)
        self.runtime = TensorRt(module, name, "10.0", logger=None)
