"""Sessions on another machine keep to the plugin contract like any other."""

import dataclasses
import os
import sys
from pathlib import Path

import onnx
import psutil
import pytest
import remote_machines

from fofa.errors import UserError
from fofa.latency import Lut
from fofa.runtime.graph import build_model
from fofa.space import NetworkConfig, network_blocks, parse_subnet
from profilers.conformance import check_plugin
from profilers.measuring.rounds import Instruments
from profilers.plugin import PluginOptions
from profilers.plugins.onnxruntime import PLUGIN
from profilers.remote.session import RemotePlugin
from profilers.remote.transport import Local, parse_address
from profilers.tables.build import measure_lut

BLOCKS = network_blocks(parse_subnet("22222"), 32, NetworkConfig(width_mult=0.25, num_classes=10))


@pytest.fixture
def options(bare_python):
    def make(**chosen):
        return PluginOptions(**chosen, extra={"python": str(bare_python)})

    return make


@pytest.fixture
def plugin(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    yield RemotePlugin(Local(home))
    assert list(home.iterdir()) == [], "something stays on the machine"


@pytest.mark.parametrize("chosen", [{"batch_size": 2}, {"dtype": "fp16"}, {"dtype": "int8"}])
def test_it_passes_the_conformance_check(plugin, options, chosen):
    assert check_plugin(plugin, options(**chosen)).available


@pytest.mark.parametrize("dtype", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_over_ssh_too(sshd, options, monkeypatch, dtype):
    monkeypatch.setenv("PATH", f"{sshd.programs}:{os.environ['PATH']}")
    check_plugin(RemotePlugin(parse_address(sshd.address)), options(dtype=dtype))


def test_its_protocol_is_that_of_the_plugin_here(plugin, options):
    with plugin.open(options()) as there, PLUGIN.open(PluginOptions()) as here:
        assert there.protocol == here.protocol


def test_an_exported_network_runs_there(plugin, options, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(build_model(BLOCKS, None), path)
    with plugin.open(options()) as session:
        runner = session.load(path)
        assert runner.run() > 0
        assert len(runner.visit(2, 5)) == 5
        path.write_bytes(build_model(BLOCKS, 1).SerializeToString().replace(b"Conv", b"Conz"))
        with pytest.raises(UserError, match=r"net\.onnx: .*Conz"):
            session.load(path)
        assert runner.run() > 0, "the session goes on"


def test_a_table_measured_through_a_session_is_of_that_machine(plugin, options, tmp_path):
    request = dataclasses.replace(remote_machines.request(), options=options())
    out = tmp_path / "t.json"
    instruments = Instruments(interference=lambda: pytest.fail("the meter of here was read"))
    lut = measure_lut(request, plugin, out, instruments)
    assert Lut.read(out) == lut
    assert set(lut.device.measured_on["versions"]) == {"python", "numpy"}
    assert lut.device.measured_on["before"]["temperatures_c"] is not None


def test_a_session_that_was_closed_says_so(plugin, options):
    session = plugin.open(options())
    runner = session.lower(BLOCKS)
    session.close()
    with pytest.raises(UserError, match="the session is closed"):
        runner.run()
    runner.close()
    session.close()


def test_an_agent_that_is_killed_is_one_line(plugin, options):
    with plugin.open(options()) as session:
        runner = session.lower(BLOCKS)
        for process in psutil.Process(session._process.pid).children(recursive=True):
            process.kill()
        with pytest.raises(UserError, match=r"the link broke|the agent ended"):
            runner.run()


def test_when_the_link_ends_the_machine_cleans_up_by_itself(tmp_path, options):
    home = tmp_path / "home"
    home.mkdir()
    session = RemotePlugin(Local(home)).open(options())
    assert len(list(home.iterdir())) == 1
    session._process.stdin.close()  # as when this program is killed
    session._process.wait()
    assert list(home.iterdir()) == []


ANSWERS = {
    "endless": "yes x | tr -d '\\n'",
    "no JSON": "while read line; do echo hello; done",
    "no fields": "while read line; do echo '{}'; done",
    "escape codes": 'while read line; do printf \'{"fault": "\\\\u001b[2Jowned"}\\n\'; done',
    "gone": "exit 0",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_hostile_answers_are_one_clear_error(plugin, tmp_path, kind):
    python = Path(tmp_path) / "hostile"
    remote_machines.write_program(
        python, f'case $1 in -m) exec {sys.executable} -I "$@";; esac\n{ANSWERS[kind]}'
    )
    with pytest.raises(UserError) as caught:
        plugin.open(PluginOptions(extra={"python": str(python)}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
