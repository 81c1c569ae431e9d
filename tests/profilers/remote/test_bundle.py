"""Bundles: small, complete, the same graphs and weights that are timed here."""

import ast
import io
import json
import subprocess
import sys
import zipfile
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import remote_machines
from onnx import numpy_helper

from fofa.runtime.graph import BUILT_TYPES, build_model, noise_values
from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import find_device
from profilers.plugin import PluginOptions
from profilers.plugins.onnxruntime import PLUGIN
from profilers.remote import agent
from profilers.remote.bundle import agent_text, items_of, make_bundle
from profilers.remote.request import RemoteOptions
from profilers.remote.weightless import weightless
from profilers.tables.measured import LutRequest


@pytest.mark.parametrize(
    "dtype",
    [BUILT_TYPES[0], *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in BUILT_TYPES[1:])],
)
def test_the_compound_space_at_four_resolutions_is_less_than_2_mb(dtype):
    request = LutRequest(
        device=find_device("pi4", plugins=["onnxruntime"], plugin="onnxruntime"),
        space=SearchSpace(),
    )
    made = make_bundle(request, RemoteOptions(dtype=dtype))
    assert made.workload.items
    assert len(made.to_bytes()) < 2_000_000
    assert sum(map(len, made.files.values())) < 12_000_000


def test_the_same_request_gives_the_same_bytes(bundle):
    again = make_bundle(remote_machines.request(), RemoteOptions())
    assert again.to_bytes() == bundle.to_bytes()
    others = [
        make_bundle(remote_machines.request(), RemoteOptions(threads=2)),
        make_bundle(remote_machines.request(), RemoteOptions(cores="0")),
    ]
    assert len({bundle.id, *(other.id for other in others)}) == 3


def test_the_zip_holds_what_the_agent_needs_and_no_path_that_leaves_it(bundle):
    names = zipfile.ZipFile(io.BytesIO(bundle.to_bytes())).namelist()
    assert {"agent.py", "plan.json", "noise.f32", "README"} <= set(names)
    assert not [name for name in names if name.startswith("/") or ".." in name]
    plan = json.loads(bundle.files["plan.json"])
    assert [item["name"] for item in plan["items"]] == [
        item.name for item in items_of(bundle.workload)
    ]
    assert {graph["file"] for graph in plan["graphs"]} <= set(names)


@pytest.mark.parametrize("dtype", BUILT_TYPES)
def test_the_agent_has_the_graphs_and_weights_that_are_built_here(tmp_path, unpack, dtype):
    made = make_bundle(remote_machines.request(), RemoteOptions(dtype=dtype))
    there = agent.Bundle(unpack(tmp_path, made))
    runtime, items = agent.OnnxRuntime(there), items_of(made.workload)
    assert there.num_bytes() > 0
    np.testing.assert_array_equal(there.noise, noise_values())
    for number, item in enumerate(items):
        network, whole = there.network(number), build_model(item.blocks, 1, dtype)
        bare = onnx.load_from_string(network["model"])
        assert bare.graph.node == whole.graph.node
        own = {weight.name: weight for weight in bare.graph.initializer}
        given = runtime.weights_of(network)
        for weight in whole.graph.initializer:
            name, expected = weight.name, numpy_helper.to_array(weight)
            found = given[name].numpy() if name in given else numpy_helper.to_array(own[name])
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
        assert given.keys() <= own.keys()


@pytest.mark.parametrize("dtype", BUILT_TYPES)
def test_a_graph_without_weights_is_small(dtype):
    blocks = items_of(make_bundle(remote_machines.request(), RemoteOptions()).workload)[0].blocks
    whole = build_model(blocks, 1, dtype)
    assert len(weightless(blocks, 1, dtype).model) < len(whole.SerializeToString()) / 3


def test_of_an_int8_graph_the_runtime_makes_the_same_operators_there_as_here(
    tmp_path, unpack, monkeypatch
):
    written, start = tmp_path / "made.onnx", onnxruntime.InferenceSession

    def start_and_write(model, options, **chosen):
        options.optimized_model_filepath = str(written)
        return start(model, options, **chosen)

    made = make_bundle(remote_machines.request(), RemoteOptions(dtype="int8"))
    there = agent.Bundle(unpack(tmp_path, made))
    monkeypatch.setattr(onnxruntime, "InferenceSession", start_and_write)
    operators = []
    with PLUGIN.open(PluginOptions(dtype="int8")) as here:
        for lower in (
            lambda: agent.OnnxRuntime(there).open(there.network(0)),
            lambda: here.lower(made.workload.canary.blocks),
        ):
            assert lower().run() > 0
            model = onnx.load(written, load_external_data=False)
            operators.append(Counter(node.op_type for node in model.graph.node))
    bare = onnx.load_from_string(there.network(0)["model"])
    before = Counter(node.op_type for node in bare.graph.node)
    assert operators[0] == operators[1]
    assert operators[0]["DequantizeLinear"] < before["DequantizeLinear"], "8-bit operators"


def test_the_agent_is_one_file_of_python_3_8_without_fofa():
    text = agent_text()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}
    defined = [
        name
        for node in tree.body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.Assign)
            else []
        )
    ]
    assert len(defined) == len(set(defined)), "two of its modules have a name in common"


def test_the_agent_uses_nothing_that_came_after_python_3_8():
    """Names that a newer standard library has; syntax is checked apart."""
    text = agent_text()
    for newer in ("removeprefix", "removesuffix", "pairwise", "slots=", "kw_only", "zoneinfo"):
        assert newer not in text
    assert "strict=" not in text


def test_without_numpy_the_agent_says_what_to_install(tmp_path, unpack, bundle):
    folder = unpack(tmp_path, bundle)
    hide = "import sys, runpy; sys.modules['numpy'] = None; runpy.run_path('agent.py')"
    done = subprocess.run(
        [sys.executable, "-I", "-c", hide], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install numpy onnxruntime" in done.stderr
    assert "Traceback" not in done.stderr


def test_classes_and_family_are_part_of_it():
    request = remote_machines.request()
    other = LutRequest(
        device=request.device,
        space=request.space,
        config=NetworkConfig(width_mult=0.25, num_classes=20),
        settings=request.settings,
    )
    assert make_bundle(other, RemoteOptions()).id != make_bundle(request, RemoteOptions()).id
