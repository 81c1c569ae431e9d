import subprocess
import zipfile

import pytest
import remote_machines
from waiting import PATIENCE_SECONDS

from profilers.remote.bundle import make_bundle
from profilers.remote.request import RemoteOptions


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    return remote_machines.bare_python(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def bundle():
    return make_bundle(remote_machines.request(), RemoteOptions())


@pytest.fixture
def unpack():
    def into(folder, made):
        path = folder / "bundle.zip"
        made.write(path)
        zipfile.ZipFile(path).extractall(folder)
        return folder

    return into


@pytest.fixture(scope="session")
def finished(tmp_path_factory, bundle, bare_python):
    """The samples of `bundle`, measured once."""
    folder = tmp_path_factory.mktemp("finished")
    zipped = folder / "bundle.zip"
    bundle.write(zipped)
    zipfile.ZipFile(zipped).extractall(folder)
    subprocess.run(
        [bare_python, "agent.py"],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    return folder / "samples.jsonl"
