import json

import torch

from fofa.export.program import EXTRA_FILE, write_program


def test_a_program_runs_without_this_package(network, tmp_path) -> None:
    path = tmp_path / "n.pt2"
    write_program(network, 32, path, {"name": "n"})
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra[EXTRA_FILE]) == {"name": "n"}
    images = torch.randn(5, 3, 32, 32)  # another batch size than it was traced with
    with torch.inference_mode():
        assert torch.allclose(program(images), network(images), atol=1e-4)
