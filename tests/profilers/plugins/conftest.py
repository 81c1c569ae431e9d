import pytest
import yaml

from fofa.space import NetworkConfig, SearchSpace
from profilers.tables.ofa_yaml import layer_names


@pytest.fixture
def write_ofa_yaml(tmp_path):
    """Write a table in OFA's format: every layer takes 1 ms more than the one before."""

    def write(resolution, *, width_mult=1.2, kind="elastic", num_classes=1000, name=None):
        config = NetworkConfig(width_mult=width_mult, num_classes=num_classes)
        space = SearchSpace(kind=kind, resolutions=(resolution,))
        layers = {}
        for block in space.unique_blocks(resolution, config):
            for layer in layer_names(block):
                layers[layer] = {"count": 50, "mean": 1.0 + len(layers), "std": 0.1}
        path = tmp_path / "tables" / f"{name or resolution}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(layers))
        return path

    return write
