"""Bundles: small, complete, the same graphs and weights that are timed here."""

import ast
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import remote_machines
from onnx import numpy_helper

from fofa.runtime.graph import build_model, noise_values
from fofa.space import NetworkConfig, SearchSpace
from profilers.hardware.devices import find_device
from profilers.remote.bundle import agent_text, items_of, make_bundle, weightless
from profilers.remote.request import RemoteOptions
from profilers.tables.build import LutRequest


def test_the_compound_space_at_four_resolutions_is_less_than_2_mb():
    request = LutRequest(
        device=find_device("pi4", plugins=["onnxruntime"], plugin="onnxruntime"),
        space=SearchSpace(),
    )
    made = make_bundle(request, RemoteOptions())
    assert made.workload.items
    assert len(made.to_bytes()) < 2_000_000
    assert sum(map(len, made.files.values())) < 8_000_000


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


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_weights_are_cut_from_the_noise_as_they_are_built_here(bundle, dtype):
    from profilers.remote.agent import ELEMENT_TYPES

    request = remote_machines.request()
    made = make_bundle(request, RemoteOptions(dtype=dtype))
    plan = json.loads(made.files["plan.json"])
    noise = np.frombuffer(made.files["noise.f32"], np.float32)
    np.testing.assert_array_equal(noise, noise_values())
    blocks = made.workload.canary.blocks
    whole = build_model(blocks, 1, dtype)
    weights = dict(plan["graphs"][plan["items"][0]["graph"]]["weights"])
    assert len(weights) == len(whole.graph.initializer)
    for weight in whole.graph.initializer:
        shape, start, scale = plan["weights"][weights[weight.name]]
        values = np.resize(np.roll(noise, -start), np.prod(shape)).reshape(shape)
        cut = (values * np.float32(scale)).astype(ELEMENT_TYPES[dtype])
        np.testing.assert_array_equal(cut, numpy_helper.to_array(weight))


def test_a_graph_without_weights_is_the_graph_with_them():
    blocks = items_of(make_bundle(remote_machines.request(), RemoteOptions()).workload)[0].blocks
    bare, weights = weightless(blocks, 1, "fp32")
    whole, model = build_model(blocks, 1), onnx.load_from_string(bare)
    assert model.graph.node == whole.graph.node
    assert [name for name, _, _ in weights] == [w.name for w in whole.graph.initializer]
    assert len(bare) < len(whole.SerializeToString()) / 10


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
