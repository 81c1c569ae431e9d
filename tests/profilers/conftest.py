import pytest
import remote_machines


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    server = remote_machines.start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait()
