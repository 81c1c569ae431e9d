"""The CPU plugin with the real runtime."""

from collections import Counter

import onnx
import pytest

from fofa.errors import UserError
from fofa.runtime.graph import BUILT_TYPES, build_model
from fofa.space import NetworkConfig, Subnet, network_blocks
from profilers.conformance import check_plugin
from profilers.hardware.cores import affinity
from profilers.plugin import PluginOptions
from profilers.plugins.onnxruntime import PLUGIN

SMALL = NetworkConfig(width_mult=0.25, num_classes=10)
BLOCKS = network_blocks(Subnet.compound((2,) * 5), 32, SMALL)


@pytest.fixture
def session():
    with PLUGIN.open(PluginOptions()) as opened:
        yield opened


@pytest.mark.parametrize("dtype", BUILT_TYPES)
@pytest.mark.parametrize("binding", ["off", "on"])
def test_it_keeps_to_the_protocol_in_each_type(dtype, binding):
    options = PluginOptions(batch_size=2, dtype=dtype, extra={"binding": binding})
    assert check_plugin(PLUGIN, options).available


def test_weights_given_apart_are_made_into_8_bit_operators(session, tmp_path):
    """What is timed in int8 has as few operators as a session that opens the whole file."""
    import onnxruntime

    whole, apart = build_model(BLOCKS, 1, "int8"), build_model(BLOCKS, 1, "int8")
    weights = session._detach_weights(apart)
    assert weights
    kinds = []
    for number, (model, given) in enumerate([(whole, {}), (apart, weights)]):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{number}.onnx")
        options.add_external_initializers(list(given), list(given.values()))
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        optimised = onnx.load(tmp_path / f"{number}.onnx", load_external_data=False)
        kinds.append(Counter(node.op_type for node in optimised.graph.node))
    assert kinds[0] == kinds[1]
    assert kinds[0]["QLinearConv"] > 20


def save(path, batch_size=1, dtype="fp32"):
    onnx.save(build_model(BLOCKS, batch_size, dtype), path)
    return path


def test_it_says_how_it_measures(session):
    protocol = session.protocol
    assert (protocol.plugin, protocol.dtype) == ("onnxruntime", "fp32")
    assert (protocol.batch_size, protocol.threads) == (1, 1)
    assert protocol.runtime.startswith("onnxruntime 1.")
    assert (protocol.binding, protocol.spinning) == ("off", "on")


@pytest.mark.parametrize("extra", [{"binding": "on"}, {"spinning": "stop"}, {"pin": "off"}])
def test_session_options_are_choices_and_stand_in_the_protocol(extra, tmp_path):
    with PLUGIN.open(PluginOptions(extra=extra, threads=2)) as session:
        recorded = session.protocol.model_dump()
        name, value = next(iter(extra.items()))
        assert recorded[{"pin": "pinned"}.get(name, name)] == {"off": False}.get(value, value)
        runner = session.lower(BLOCKS)
        assert runner.run() > 0
        runner.close()
        assert session.load(save(tmp_path / "n.onnx")).run() > 0


def test_what_runs_is_a_plain_run_with_the_runtimes_own_options(session, monkeypatch):
    """Nothing is set but threads, the log and the weights; outputs are new at every run."""
    import onnxruntime

    entries, calls = [], []
    options = onnxruntime.SessionOptions
    monkeypatch.setattr(
        options, "add_session_config_entry", lambda self, *entry: entries.append(entry)
    )
    runner = session.lower(BLOCKS)
    plain = runner._session.run
    monkeypatch.setattr(
        runner._session, "run", lambda names, inputs: calls.append(names) or plain(names, inputs)
    )
    runner.run()
    assert calls == [None]
    assert entries == []


def test_blocks_networks_and_files_run(session, tmp_path):
    runners = [
        session.lower(BLOCKS[:1]),
        session.lower(BLOCKS),
        session.load(save(tmp_path / "network.onnx")),
    ]
    for runner in runners:
        assert all(0 < runner.run() < 1000 for _ in range(3))
        runner.close()


def test_it_stays_on_as_many_cores_as_it_has_threads_unless_told_otherwise():
    before = affinity()
    with PLUGIN.open(PluginOptions()) as session:
        if before is not None:
            assert session.protocol.model_dump()["pinned"] is True
            assert session.hardware()["pinned_cores"] == sorted(affinity())
            assert len(affinity()) == 1
    assert affinity() == before
    for options in (PluginOptions(extra={"pin": "off"}), PluginOptions(threads=1000)):
        with PLUGIN.open(options) as session:
            assert session.protocol.model_dump()["pinned"] is False
            assert "pinned_cores" not in session.hardware()
            assert affinity() == before


def test_options_reach_the_runtime(tmp_path):
    options = PluginOptions(batch_size=4, threads=2, dtype="fp16")
    with PLUGIN.open(options) as session:
        assert session.protocol.batch_size == 4
        assert session.protocol.threads == 2
        assert session.lower(BLOCKS).run() > 0
        assert session.load(save(tmp_path / "n.onnx", 4, "fp16")).run() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PluginOptions(dtype="int3"), "dtype 'int3': expected one of fp32, fp16, int8"),
        (PluginOptions(batch_size=0), "batch size 0"),
        (PluginOptions(threads=0), "0 threads"),
        (PluginOptions(extra={"pin": "yes"}), "pin 'yes', expected off or on"),
        (PluginOptions(extra={"pins": "on"}), "unknown options pins; known: pin"),
        (PluginOptions(source="somewhere"), "takes no source"),
        (PluginOptions(extra={"turbo": "on"}), "unknown options turbo"),
    ],
)
def test_impossible_options_are_user_errors(options, message):
    with pytest.raises(UserError, match=message):
        PLUGIN.open(options)


def test_a_file_that_is_no_network_is_a_user_error(session, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        session.load(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"\x00junk" * 50)
    with pytest.raises(UserError, match=r"junk\.onnx: not a network that onnxruntime runs"):
        session.load(tmp_path / "junk.onnx")


def test_a_network_of_another_batch_size_is_refused(session, tmp_path):
    with pytest.raises(UserError, match="its batch size is 2, asked for is 1"):
        session.load(save(tmp_path / "two.onnx", 2))


def test_a_free_first_axis_is_the_batch(tmp_path):
    save(tmp_path / "free.onnx", None)
    with PLUGIN.open(PluginOptions(batch_size=3)) as session:
        assert session.load(tmp_path / "free.onnx").run() > 0


def test_a_free_image_size_is_refused(session, tmp_path):
    model = build_model(BLOCKS, 1)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, tmp_path / "free.onnx")
    with pytest.raises(UserError, match="no fixed size"):
        session.load(tmp_path / "free.onnx")


def test_weights_are_shared_only_where_all_of_them_is_equal(session):
    """Two networks may agree in the first values of a layer and differ in others."""
    first, same, other = (build_model(BLOCKS, 1) for _ in range(3))
    name = max(first.graph.initializer, key=lambda weight: len(weight.raw_data)).name
    for weight in other.graph.initializer:
        if weight.name == name:
            weight.raw_data = weight.raw_data[:-4] + b"\x00\x00\x80\x3f"  # the last one is 1.0
    kept, shared, own = (session._detach_weights(model) for model in (first, same, other))
    assert shared[name] is kept[name]
    assert own[name] is not kept[name]
    assert own[name].numpy().flat[-1] == 1.0
    assert all(own[key] is kept[key] for key in kept if key != name)


def test_older_words_for_types_are_read():
    with PLUGIN.open(PluginOptions(dtype="float16")) as session:
        assert session.protocol.dtype == "fp16"
