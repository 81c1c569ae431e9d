import json

import torch
from rounding import rounding_bound

from fofa.export.onnx_file import noise_images
from fofa.export.program import EXTRA_FILE, write_program


def test_a_program_runs_without_this_package(network, tmp_path) -> None:
    path = tmp_path / "n.pt2"
    write_program(network, 32, path, {"name": "n"})
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra[EXTRA_FILE]) == {"name": "n"}
    images = noise_images(32, 5)  # another batch size than it was traced with
    with torch.inference_mode():
        expected = network(images)
        difference = (program(images) - expected).abs().max()
    assert difference <= rounding_bound(network, expected)
