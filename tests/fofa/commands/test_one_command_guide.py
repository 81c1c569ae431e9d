"""docs/one-command.md, followed word for word in a folder with two dozen pictures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import guides
import onnxruntime
import pytest

from fofa.pipeline.config import Config

PAGE = guides.page("docs/one-command.md")
INIT, RUN, PREDICT = guides.commands(PAGE)
FEW = """
options:
  train: [--epoch-scale, '0.002', --resolutions, '32', --threads, '1', --no-tensorboard]
  eval: [--limit, '4', --calibration-images, '4', --threads, '1']
  profile: [--budget-seconds, '0.5', --session-gap, '0']
  export: [--test-images, '4', --calibration-images, '4']
"""
"""What the test adds to the file, so that it is soon done."""


def test_every_field_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| (`.*`) \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    said = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    fields = Config.model_fields
    assert said.keys() == fields.keys()
    for name in ("data", "init", "device", "budget", "max_latency", "out"):
        default = json.dumps(fields[name].default).strip('"')
        assert said[name] == f"`{default}`", name


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_guide_works_word_for_word(tmp_path: Path) -> None:
    guides.draw_photos(tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / "bird" / "0001.jpg", tmp_path / "picture.png")
    said = guides.follow([INIT], tmp_path, {})
    assert "folder:photos on cpu" in said["fofa init"]
    file = tmp_path / "fofa.yaml"
    file.write_text(file.read_text() + FEW)
    first = guides.follow([RUN], tmp_path, {})["fofa run"]
    verdict, report, *steps = first.splitlines()
    assert re.match(r"fofa-out/network\.onnx: [1-4]{6}@32, \d+\.\d\d% top-1, ", verdict)
    assert report == "report: fofa-out/report.md"
    assert steps[0].startswith("import: fofa import efficientnet-lite0 ")
    assert re.search(r"bird|airplane", guides.follow([PREDICT], tmp_path, {})["fofa predict"])

    out = tmp_path / "fofa-out"
    session = onnxruntime.InferenceSession(out / "network.onnx")
    assert session.get_outputs()[0].shape[-1] == 2
    page = (out / "report.md").read_text()
    assert "images that training did not see (`folder:photos`)" in page
    hours = re.search(r"`fofa-n3`, (\S+) (core|GPU)-hours on ", page)
    assert hours is not None
    assert float(hours[1]) > 0

    before = (out / "steps.json").read_text()
    again = guides.follow([RUN], tmp_path, {})["fofa run"]
    assert again.splitlines()[:2] == [verdict, report]
    assert again.count("done before") == 7
    assert (out / "steps.json").read_text() == before
