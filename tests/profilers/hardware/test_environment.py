"""The environment record and the live state, with and without a driver."""

import json
import subprocess
import sys
import time

from waiting import PATIENCE_SECONDS

from profilers.hardware import environment


def test_environment_is_plain_json_and_names_the_cpu_and_the_versions():
    captured = environment.capture_environment()
    assert json.loads(json.dumps(captured, allow_nan=False)) == captured
    assert captured["cpu"]["model"]
    assert 1 <= captured["cpu"]["allowed_cores"] <= captured["cpu"]["logical_cores"]
    assert captured["versions"]["python"] == sys.version.split()[0]
    assert captured["versions"]["onnxruntime"]


def test_environment_names_no_person_or_machine():
    import getpass
    import platform

    text = json.dumps(environment.capture_environment() | environment.live_state(0.01))
    assert f'"{platform.node()}"' not in text
    assert f'"{getpass.getuser()}"' not in text


def test_live_state_sees_another_process_work_and_not_its_own_children():
    spin = "import time\nend = time.time() + 300\nwhile time.time() < end: pass"
    # A grandchild whose parent has gone is no longer ours.
    start = (
        "import subprocess, sys; "
        f"print(subprocess.Popen([sys.executable, '-c', {spin!r}], stdout=subprocess.DEVNULL).pid)"
    )
    pid = int(subprocess.check_output([sys.executable, "-c", start], timeout=PATIENCE_SECONDS))
    child = subprocess.Popen([sys.executable, "-c", spin])
    try:
        time.sleep(0.3)
        state = environment.live_state(0.5)
    finally:
        child.kill()
        child.wait()
        subprocess.run(["kill", str(pid)], check=True)
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert state["busy_processes"] >= 1
    assert state["other_cpu_percent"] > environment.BUSY_PERCENT


def test_own_children_do_not_count_as_others():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        assert child.pid in environment._own_processes()
    finally:
        child.kill()
        child.wait()
