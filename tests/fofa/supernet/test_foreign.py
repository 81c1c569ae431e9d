"""Checkpoints by the documented key names become the same supernet."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.space import Subnet
from fofa.supernet.foreign import import_supernet
from fofa.supernet.model import Supernet

MakeSupernet = Callable[..., Supernet]

OUTER = {
    "stem.conv": "first_conv.conv",
    "stem.bn": "first_conv.bn",
    "head.expand": "final_expand_layer.conv",
    "head.expand_bn": "final_expand_layer.bn",
    "head.mix": "feature_mix_layer.conv",
    "head.classifier": "classifier.linear",
}
INNER = {
    "expand": "inverted_bottleneck.conv.conv",
    "expand_bn": "inverted_bottleneck.bn.bn",
    "depthwise": "depth_conv.conv.conv",
    "depthwise_bn": "depth_conv.bn.bn",
    "squeeze.reduce": "depth_conv.se.fc.reduce",
    "squeeze.expand": "depth_conv.se.fc.expand",
    "project": "point_linear.conv.conv",
    "project_bn": "point_linear.bn.bn",
}


def legacy_key(key: str) -> str:
    """The documented name of a supernet's key, in the newer form."""
    module, _, leaf = key.rpartition(".")
    if module in OUTER:
        return f"{OUTER[module]}.{leaf}"
    if module.startswith("first."):
        inner = INNER[module.removeprefix("first.")]
        inner = inner.replace("conv.conv", "conv").replace("bn.bn", "bn")
        return f"blocks.0.mobile_inverted_conv.{inner}.{leaf}"
    match = re.fullmatch(r"(stages|transforms)\.(\d)\.(\d)\.?(.*)", module)
    assert match is not None
    block = f"blocks.{1 + 4 * int(match[2]) + int(match[3])}.mobile_inverted_conv"
    if match[1] == "transforms":
        matrix = {"to5": "7to5_matrix", "to3": "5to3_matrix"}[leaf]
        return f"{block}.depth_conv.conv.{matrix}"
    return f"{block}.{INNER[match[4]]}.{leaf}"


def checkpoint(supernet: Supernet, old: bool = False) -> dict[str, Tensor]:
    state = {legacy_key(key): value.float() for key, value in supernet.state_dict().items()}
    if not old:
        return state
    pairs = [(".conv.conv.", ".conv."), (".bn.bn.", ".bn.")]
    for doubled, single in pairs:
        state = {key.replace(doubled, single): value for key, value in state.items()}
    return state


@pytest.mark.parametrize("mode", ["fixed", "centre", "transform"])
@pytest.mark.parametrize("old", [False, True])
def test_documented_names_load(
    make_supernet: MakeSupernet, tmp_path: Path, mode: str, old: bool
) -> None:
    path = tmp_path / "checkpoint.pth"
    supernet = make_supernet(mode).float()
    torch.save({"state_dict": checkpoint(supernet, old), "epoch": 7}, path)
    imported = import_supernet(path)
    expected = supernet.config.model_copy(update={"dropout": 0.1})
    assert imported.config == expected
    for key, value in supernet.state_dict().items():
        assert torch.equal(imported.state_dict()[key], value), key
    images = torch.randn(2, 3, 32, 32)
    subnets = [supernet.largest, Subnet.compound((2, 3, 4, 2, 3))]
    for one, other in zip(imported(images, subnets), supernet.eval()(images, subnets), strict=True):
        assert torch.equal(one, other)


def test_a_wrapped_bare_state_dict_loads(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    supernet = make_supernet("centre", width_mult=1.2)
    state = {
        f"module.{key}": value
        for key, value in checkpoint(supernet).items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(state, path)
    assert import_supernet(path).config.width_mult == 1.2


def test_faults_are_listed_by_their_own_names(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    state = checkpoint(make_supernet("transform"))
    del state["blocks.4.mobile_inverted_conv.point_linear.bn.bn.bias"]
    state["blocks.21.mobile_inverted_conv.point_linear.bn.bn.bias"] = torch.zeros(8)
    state["feature_mix_layer.conv.weight"] = torch.zeros(320, 248, 1, 1)
    torch.save({"state_dict": state}, path)
    with pytest.raises(UserError) as caught:
        import_supernet(path)
    message = str(caught.value)
    assert "missing: blocks.4.mobile_inverted_conv.point_linear.bn.bias" in message
    assert "left over: blocks.21.mobile_inverted_conv.point_linear.bn.bias" in message
    assert "feature_mix_layer.conv.weight ([320, 248, 1, 1], expected [320, 240, 1, 1])" in message
    assert "\n" not in message


class Foreign:
    """Something that only unpickling code could bring back."""


def test_foreign_files_are_refused(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    for content in [{"state_dict": Foreign()}, [1, 2], {"state_dict": {"a": 1}}, {}]:
        torch.save(content, path)
        with pytest.raises(UserError, match=r"expected a dictionary|not a checkpoint of tensors"):
            import_supernet(path)
    for data in [b"", b"PK\x03\x04 but no more", b"\x80\x02nonsense", b"text"]:
        path.write_bytes(data)
        with pytest.raises(UserError, match="not a checkpoint of tensors"):
            import_supernet(path)
    torch.save({"layer1.conv.weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"missing blocks\.1\..* left over layer1\.conv\.weight"):
        import_supernet(path)
    state = checkpoint(make_supernet())
    state["first_conv.conv.weight"] = torch.zeros(999, 3, 3, 3)
    torch.save(state, path)
    with pytest.raises(UserError, match="no width multiplier gives"):
        import_supernet(path)
    with pytest.raises(UserError, match="no such file"):
        import_supernet(tmp_path / "absent")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1, 1).expand(2**40, 1280), "but it holds fewer values"),
        (torch.zeros(10, 1280).to_sparse(), "expected a plain tensor"),
        (torch.zeros(10, 1280, dtype=torch.complex64), "expected a plain tensor"),
        (torch.tensor(1.0), r"shape \[\] is no layer's"),
    ],
)
def test_tensors_that_are_not_what_they_seem_are_refused(
    make_supernet: MakeSupernet, tmp_path: Path, tensor: Tensor, message: str
) -> None:
    """A repeated view of one value would otherwise become terabytes."""
    path = tmp_path / "checkpoint.pth"
    torch.save(checkpoint(make_supernet()) | {"classifier.linear.weight": tensor}, path)
    with pytest.raises(UserError, match=rf"classifier\.linear\.weight: .*{message}"):
        import_supernet(path)


def test_a_tensor_under_two_names_is_refused(make_supernet: MakeSupernet, tmp_path: Path) -> None:
    """Which of them is meant cannot be known."""
    path = tmp_path / "checkpoint.pth"
    state = checkpoint(make_supernet())
    state["module.classifier.linear.weight"] = state["classifier.linear.weight"] + 1
    torch.save(state, path)
    with pytest.raises(UserError, match=r"holds classifier\.linear\.weight twice, once as module"):
        import_supernet(path)
