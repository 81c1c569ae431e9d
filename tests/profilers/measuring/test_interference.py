import subprocess
import sys
import time

from profilers.measuring.interference import CpuMeter


def test_work_of_others_is_seen_and_ones_own_is_not():
    meter = CpuMeter()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        pass
    own = meter.read()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(0.2)
        meter.read()
        time.sleep(1.0)
        busy = meter.read()
        process.kill()
    assert busy.other_cpu_percent > 20
    assert own.other_cpu_percent >= 0
    assert own.steal_percent is None or own.steal_percent >= 0
