import numpy as np
import pytest
import torch
from PIL import Image

from fofa.errors import UserError
from fofa.export.classifier import ImageClassifier


@pytest.fixture
def classifier(run, architecture, network) -> ImageClassifier:
    return ImageClassifier.of(run, architecture, network)


def picture(size=(50, 40)) -> Image.Image:
    values = np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_predictions_are_the_networks_softmax(classifier, network) -> None:
    predictions = classifier.predict(picture(), top=3)
    with torch.inference_mode():
        probabilities = network(classifier.prepare(picture())[None])[0].softmax(0)
    assert [p.probability for p in predictions] == pytest.approx(
        probabilities.sort(descending=True).values[:3].tolist()
    )
    assert predictions[0].class_name == classifier.class_names[int(probabilities.argmax())]
    assert sum(p.probability for p in classifier.predict(picture(), top=100)) == pytest.approx(1)


def test_an_image_of_the_networks_size_is_only_normalised(classifier) -> None:
    image = picture((32, 32))
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (classifier.mean, classifier.std))
    assert torch.allclose(classifier.prepare(image), (expected - mean) / std, atol=1e-6)


def test_files_and_other_modes(classifier, tmp_path) -> None:
    picture().convert("L").save(tmp_path / "grey.png")
    assert len(classifier.predict(tmp_path / "grey.png")) == 5
    with pytest.raises(UserError, match="no such file"):
        classifier.predict(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match="not an image"):
        classifier.predict(tmp_path / "text.png")
