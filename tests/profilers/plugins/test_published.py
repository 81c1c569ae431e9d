"""OFA's YAML tables: the committed Note10 table, other widths, wrong files."""

import functools
import http.server
import threading
from pathlib import Path

import ofa_files
import pytest
import yaml

from fofa.errors import UserError
from fofa.latency import Lut, required_keys
from fofa.space import NetworkConfig, SearchSpace
from profilers.plugin import PluginOptions
from profilers.plugins.published import PLUGIN

COMMITTED = Path(__file__).resolve().parents[3] / "luts" / "note10.json"


def table_of(source, *, resolutions=(160, 224), device="note10"):
    space = SearchSpace(resolutions=resolutions)
    return PLUGIN.table(space, NetworkConfig(), PluginOptions(source=str(source)), device)


def test_committed_note10_table_gives_the_reference_latencies():
    lut = Lut.read(COMMITTED)
    resolutions = (160, 176, 192, 208, 224)
    latencies = lut.latencies_ms(SearchSpace(resolutions=resolutions).architectures())
    assert latencies.size == 1215
    assert latencies.min() == pytest.approx(10.269, abs=5e-4)
    assert latencies.max() == pytest.approx(60.496, abs=5e-4)
    within = [int((latencies <= limit).sum()) for limit in (15, 20, 25, 30)]
    assert within == [40, 212, 485, 748]


def test_committed_note10_table_is_what_the_plugin_makes(tmp_path):
    lut = table_of(ofa_files.write_tables(tmp_path / "note10"))
    committed = Lut.read(COMMITTED)
    assert lut == committed.model_copy(update={"created": None, "source": lut.source})
    assert lut.source.startswith("OFA latency tables note10, 17 files, sha256 ")
    assert committed.source.startswith("OFA latency tables note10, 17 files, sha256 ")
    assert lut.method == "published"
    assert (lut.space.kind, lut.space.width_mult) == ("elastic", 1.2)
    assert lut.space.resolutions == list(range(160, 225, 4))
    assert lut.device.matches is None


def test_every_block_is_found_by_position_and_the_head_is_four_layers(write_ofa_yaml):
    path = write_ofa_yaml(160)
    lut = table_of(path)
    layers = yaml.safe_load(path.read_text())
    for key in required_keys(lut.search_space):
        assert lut.block_ms(160, key) > 0
    head = next(entry for entry in lut.entries if entry.position == "head")
    parts = ("Conv_1-", "AvgPool2D-", "Conv_2-", "Logits-")
    assert head.latency_ms == sum(
        layer["mean"] for name, layer in layers.items() if name.startswith(parts)
    )
    assert sum(entry.latency_ms for entry in lut.entries) == sum(
        layer["mean"] for layer in layers.values()
    )
    assert {entry.samples for entry in lut.entries} == {50}


@pytest.mark.parametrize("width_mult", [0.5, 0.75, 1.0, 1.2, 1.3, 2.0])
def test_width_multiplier_is_inferred_from_channel_counts(write_ofa_yaml, width_mult):
    lut = table_of(write_ofa_yaml(176, width_mult=width_mult))
    assert lut.space.width_mult == width_mult


def test_a_table_of_the_compound_blocks_alone_is_a_compound_table(write_ofa_yaml):
    assert table_of(write_ofa_yaml(128, kind="compound")).space.kind == "compound"


def test_a_url_is_read_like_a_folder(write_ofa_yaml):
    folder = write_ofa_yaml(160).parent
    write_ofa_yaml(224)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        lut = table_of(address)
        with pytest.raises(UserError, match=r"128\.yaml: the server answers 404"):
            table_of(address, resolutions=(128, 160))
        server.shutdown()
    assert lut.entries == table_of(folder).entries
    with pytest.raises(UserError, match="cannot get it"):
        table_of(address)


def replaced(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def drop_layer(path, kernel):
    layers = yaml.safe_load(path.read_text())
    del layers[next(name for name in layers if f"kernel:{kernel}-" in name)]
    path.write_text(yaml.safe_dump(layers))


FAULTS = {
    "not YAML": (lambda path: path.write_text("a: [1, 2"), "not YAML"),
    "a Python object": (
        lambda path: path.write_text("!!python/object/apply:os.getcwd []"),
        "not YAML: could not determine a constructor",
    ),
    "binary": (lambda path: path.write_bytes(b"\x93NUMPY\x00\xff"), "not YAML"),
    "empty": (lambda path: path.write_text(""), "expected a YAML mapping"),
    "a list": (lambda path: path.write_text("[1, 2]"), "expected a YAML mapping"),
    "deep": (lambda path: path.write_text("[" * 100_000), "not YAML"),
    "another kind of table": (lambda path: path.write_text("a: {mean: 1}"), "for the stem"),
    "no mean": (lambda path: replaced(path, "mean: 1.0", "median: 1.0"), "number 'mean'"),
    "negative": (lambda path: replaced(path, "mean: 1.0", "mean: -1.0"), "mean is -1.0"),
    "not finite": (lambda path: replaced(path, "mean: 1.0", "mean: .nan"), "mean is nan"),
    "beyond all numbers": (
        lambda path: replaced(path, "mean: 1.0", f"mean: {10**400}"),
        "mean is 10000000000000000000, expected",
    ),
    "endless digits": (lambda path: replaced(path, "mean: 1.0", f"mean: {'9' * 5000}"), "not YAML"),
    "a count of text": (lambda path: replaced(path, "count: 50", "count: many"), "count is 'many'"),
    "a missing kernel 3": (lambda path: drop_layer(path, 3), "no entry for"),
    "a missing kernel 7": (lambda path: drop_layer(path, 7), "no entry for stage"),
    "other channels": (
        lambda path: replaced(path, "Logits-input:1x1x1536", "Logits-input:1x1x1500"),
        "times one width multiplier",
    ),
    "too large": (
        lambda path: path.write_bytes(b"#" * (5 * 2**20)),
        "larger than 4194304 bytes",
    ),
    "gone": (lambda path: path.unlink(), "no such file or folder"),
    "a folder of nothing": (
        lambda path: (path.unlink(), path.mkdir()),
        "no <resolution>.yaml in this folder",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_gets_one_line_that_names_it(write_ofa_yaml, fault):
    path = write_ofa_yaml(160)
    damage, expected = FAULTS[fault]
    damage(path)
    with pytest.raises(UserError) as caught:
        table_of(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together_are_refused(write_ofa_yaml):
    folder = write_ofa_yaml(160).parent
    misnamed = write_ofa_yaml(192, name="176")
    with pytest.raises(UserError, match=r"176\.yaml: holds resolution 192"):
        table_of(folder)
    misnamed.unlink()
    write_ofa_yaml(224, width_mult=1.0)
    with pytest.raises(UserError, match=r"width 1, 1000 classes, but .*width 1\.2"):
        table_of(folder)


def test_the_source_is_asked_for_and_no_other_batch_size_taken(write_ofa_yaml):
    with pytest.raises(UserError, match="give --source"):
        PLUGIN.table(SearchSpace(), NetworkConfig(), PluginOptions(), "note10")
    options = PluginOptions(source=str(write_ofa_yaml(160)), batch_size=64)
    with pytest.raises(UserError, match="batch size 64"):
        PLUGIN.table(SearchSpace(), NetworkConfig(), options, "note10")
    options = PluginOptions(source=options.source, extra={"l2": "cold"})
    with pytest.raises(UserError, match="unknown options l2"):
        PLUGIN.table(SearchSpace(), NetworkConfig(), options, "note10")
