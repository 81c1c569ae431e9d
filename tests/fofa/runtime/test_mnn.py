"""MNN is silent, installs and sends nothing, and its converter's faults are one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fofa.errors import UserError
from fofa.runtime.graph import build_model, random_input
from fofa.runtime.mnn import MnnRuntime, convert, load_mnn
from fofa.runtime.session import session_logits
from fofa.space import NetworkConfig, Subnet, network_blocks

pytest.importorskip("MNN")

BLOCKS = network_blocks(Subnet.compound((2,) * 5), 32, NetworkConfig(width_mult=0.25))
SILENCE = """
import os, subprocess, sys
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, Subnet, network_blocks
started = []
sys.addaudithook(lambda event, args: started.append((event, args[:2])) if event in
                 ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect",
                  "socket.getaddrinfo") else None)
from fofa.runtime.mnn import MnnRuntime
blocks = network_blocks(Subnet.compound((2,) * 5), 32, NetworkConfig(width_mult=0.25))
print("before")
network = MnnRuntime(1).open(build_model(blocks, 1))
network(__import__("numpy").ones((1, 3, 32, 32)))
print("after", len(started), started[0][1][0] == sys.executable,
      [name for name in sys.modules if name.startswith("MNN.tools") or name == "_tools"])
"""


def model_of(kind: str, **attributes: object) -> onnx.ModelProto:
    """One operator on images."""
    shape = [1, 3, 8, 8]
    graph = helper.make_graph(
        [helper.make_node(kind, ["images"], ["logits"], **attributes)],
        "one",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_it_writes_nothing_and_starts_nothing_but_the_converter(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENCE], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("before\nafter 1 True []\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch_size", [None, 3])
def test_it_computes_the_graph(batch_size) -> None:
    model = build_model(BLOCKS, batch_size)
    network = MnnRuntime(1).open(model)
    images = random_input((3, 3, 32, 32))
    torch = pytest.importorskip("torch")
    expected = session_logits(model)(torch.from_numpy(images))
    for _ in range(3):  # the input is still there after a run
        np.testing.assert_allclose(network(images), expected, rtol=0, atol=1e-5)


def test_networks_that_are_open_together_share_no_values() -> None:
    runtime = MnnRuntime(2)
    images = random_input((1, 3, 32, 32))
    networks = [
        runtime.open(build_model(network_blocks(Subnet.compound((n,) * 5), 32, NetworkConfig()), 1))
        for n in (2, 3, 4)
    ]
    first = [network(images) for network in networks]
    for index in (2, 0, 1, 1, 2, 0):
        np.testing.assert_array_equal(networks[index](images), first[index])


def test_the_description_stands_in_the_file() -> None:
    described = {"name": "ä", "class_names": json.dumps([f"--c,{n} '\"" for n in range(30_000)])}
    text = json.dumps(described)
    assert text.encode() in convert(model_of("Relu"), text)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (model_of("NoSuchOperator"), "These Op Not Support: ONNX::NoSuchOperator"),
        (build_model(BLOCKS, 1, "int8"), "terminate called"),
    ],
)
def test_a_graph_that_it_does_not_take_is_one_line(model, reason, capfd) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        convert(model)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_where_it_is_not_installed_a_person_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "MNN", None)
    for action in (load_mnn, lambda: convert(model_of("Relu")), lambda: MnnRuntime(1)):
        with pytest.raises(UserError, match=r"MNN .*: pip install 'fofa-nas\[mnn\]'"):
            action()
