"""Checkpoints by the documented key names become the same supernet."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fofa.errors import UserError
from fofa.space import PROXYLESS, Subnet
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


# Names as they stand in the files: of the code of each project, not made by ours. N is a block's
# number; `blocks.0` does not expand, and stages 2, 4 and 5 squeeze.
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
OUTER_KEYS = [
    "first_conv.conv.weight",
    *(f"first_conv.bn.{leaf}" for leaf in NORM),
    "final_expand_layer.conv.weight",
    *(f"final_expand_layer.bn.{leaf}" for leaf in NORM),
    "feature_mix_layer.conv.weight",
    "classifier.linear.weight",
    "classifier.linear.bias",
]
LITERAL_KEYS = {
    "published": (
        "blocks.0.mobile_inverted_conv.depth_conv.conv.weight",
        "blocks.0.mobile_inverted_conv.depth_conv.bn.",
        "blocks.0.mobile_inverted_conv.point_linear.conv.weight",
        "blocks.0.mobile_inverted_conv.point_linear.bn.",
        "blocks.N.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight",
        "blocks.N.mobile_inverted_conv.inverted_bottleneck.bn.bn.",
        "blocks.N.mobile_inverted_conv.depth_conv.conv.conv.weight",
        "blocks.N.mobile_inverted_conv.depth_conv.conv.7to5_matrix",
        "blocks.N.mobile_inverted_conv.depth_conv.conv.5to3_matrix",
        "blocks.N.mobile_inverted_conv.depth_conv.bn.bn.",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.reduce.weight",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.reduce.bias",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.expand.weight",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.expand.bias",
        "blocks.N.mobile_inverted_conv.point_linear.conv.conv.weight",
        "blocks.N.mobile_inverted_conv.point_linear.bn.bn.",
    ),
    "compofa": (
        "blocks.0.mobile_inverted_conv.depth_conv.conv.weight",
        "blocks.0.mobile_inverted_conv.depth_conv.bn.",
        "blocks.0.mobile_inverted_conv.point_linear.conv.weight",
        "blocks.0.mobile_inverted_conv.point_linear.bn.",
        "blocks.N.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight",
        "blocks.N.mobile_inverted_conv.inverted_bottleneck.bn.bn.",
        "blocks.N.mobile_inverted_conv.depth_conv.conv.conv.weight",
        "blocks.N.mobile_inverted_conv.depth_conv.bn.bn.",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.reduce.weight",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.reduce.bias",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.expand.weight",
        "blocks.N.mobile_inverted_conv.depth_conv.se.fc.expand.bias",
        "blocks.N.mobile_inverted_conv.point_linear.conv.conv.weight",
        "blocks.N.mobile_inverted_conv.point_linear.bn.bn.",
    ),
    "today": (
        "blocks.0.conv.depth_conv.conv.weight",
        "blocks.0.conv.depth_conv.bn.",
        "blocks.0.conv.point_linear.conv.weight",
        "blocks.0.conv.point_linear.bn.",
        "blocks.N.conv.inverted_bottleneck.conv.conv.weight",
        "blocks.N.conv.inverted_bottleneck.bn.bn.",
        "blocks.N.conv.depth_conv.conv.conv.weight",
        "blocks.N.conv.depth_conv.conv.7to5_matrix",
        "blocks.N.conv.depth_conv.conv.5to3_matrix",
        "blocks.N.conv.depth_conv.bn.bn.",
        "blocks.N.conv.depth_conv.se.fc.reduce.weight",
        "blocks.N.conv.depth_conv.se.fc.reduce.bias",
        "blocks.N.conv.depth_conv.se.fc.expand.weight",
        "blocks.N.conv.depth_conv.se.fc.expand.bias",
        "blocks.N.conv.point_linear.conv.conv.weight",
        "blocks.N.conv.point_linear.bn.bn.",
    ),
}
WIDTHS = (16, 24, 40, 80, 112, 160)
SQUEEZED = range(5, 9), range(13, 21)


def literal_checkpoint(form: str) -> dict[str, Tensor]:
    """A checkpoint of width 1.0 and five classes with that form's names, of recognisable values."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key in OUTER_KEYS:
        channels = 16 if key.startswith("first_conv") else 960
        shapes[key] = () if key.endswith("tracked") else (channels,)
    shapes["first_conv.conv.weight"] = (16, 3, 3, 3)
    shapes["final_expand_layer.conv.weight"] = (960, 160, 1, 1)
    shapes["feature_mix_layer.conv.weight"] = (1280, 960, 1, 1)
    shapes["classifier.linear.weight"] = (5, 1280)
    shapes["classifier.linear.bias"] = (5,)
    for number in range(21):
        stage = (number + 3) // 4
        wide = 16 if number == 0 else 6 * WIDTHS[stage - (number % 4 == 1)]
        narrow = WIDTHS[stage - (number % 4 == 1)] if number else 16
        hidden = int((wide // 4 + 4) // 8 * 8)
        out = WIDTHS[stage]
        kernel = 3 if number == 0 else 7
        for template in LITERAL_KEYS[form]:
            if template.startswith("blocks.0.") != (number == 0):
                continue
            if ".se." in template and not any(number in numbers for numbers in SQUEEZED):
                continue
            key = template.replace("blocks.N.", f"blocks.{number}.")
            layer = {
                "inverted_bottleneck.conv.conv.weight": (wide, narrow, 1, 1),
                "depth_conv.conv.weight": (wide, 1, kernel, kernel),
                "depth_conv.conv.conv.weight": (wide, 1, kernel, kernel),
                "7to5_matrix": (25, 25),
                "5to3_matrix": (9, 9),
                "reduce.weight": (hidden, wide, 1, 1),
                "reduce.bias": (hidden,),
                "expand.weight": (wide, hidden, 1, 1),
                "expand.bias": (wide,),
                "point_linear.conv.weight": (out, wide, 1, 1),
                "point_linear.conv.conv.weight": (out, wide, 1, 1),
            }
            if key.endswith("bn."):
                channels = out if "point_linear" in key else wide
                shapes |= {key + leaf: (channels,) for leaf in NORM[:4]} | {key + NORM[4]: ()}
            else:
                shapes[key] = next(s for ending, s in layer.items() if key.endswith(ending))
    return {
        key: torch.full(shape, 1 + number / 100) if shape else torch.tensor(7)
        for number, (key, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize(
    ("form", "block", "keys"),
    [
        ("published", "mobile_inverted_conv", 475),
        ("compofa", "mobile_inverted_conv", 435),
        ("today", "conv", 475),
    ],
)
def test_the_names_of_all_three_projects_load(
    tmp_path: Path, form: str, block: str, keys: int
) -> None:
    """Names written out here, so that a mistake in the code's own table shows."""
    state = literal_checkpoint(form)
    assert len(state) == keys
    torch.save({"state_dict": state}, tmp_path / "checkpoint.pth")
    ours = import_supernet(tmp_path / "checkpoint.pth").state_dict()
    pairs = {
        "stem.conv.weight": "first_conv.conv.weight",
        "stem.bn.running_var": "first_conv.bn.running_var",
        "first.depthwise.weight": f"blocks.0.{block}.depth_conv.conv.weight",
        "first.project_bn.running_mean": f"blocks.0.{block}.point_linear.bn.running_mean",
        "stages.0.0.expand.weight": f"blocks.1.{block}.inverted_bottleneck.conv.conv.weight",
        "stages.0.3.expand_bn.bias": f"blocks.4.{block}.inverted_bottleneck.bn.bn.bias",
        "stages.1.0.depthwise.weight": f"blocks.5.{block}.depth_conv.conv.conv.weight",
        "stages.1.2.squeeze.reduce.bias": f"blocks.7.{block}.depth_conv.se.fc.reduce.bias",
        "stages.2.1.depthwise_bn.running_mean": f"blocks.10.{block}.depth_conv.bn.bn.running_mean",
        "stages.3.0.squeeze.expand.weight": f"blocks.13.{block}.depth_conv.se.fc.expand.weight",
        "stages.4.0.project.weight": f"blocks.17.{block}.point_linear.conv.conv.weight",
        "stages.4.3.project_bn.weight": f"blocks.20.{block}.point_linear.bn.bn.weight",
        "head.expand.weight": "final_expand_layer.conv.weight",
        "head.expand_bn.bias": "final_expand_layer.bn.bias",
        "head.mix.weight": "feature_mix_layer.conv.weight",
        "head.classifier.bias": "classifier.linear.bias",
    }
    if form != "compofa":
        pairs |= {
            "transforms.0.1.to5": f"blocks.2.{block}.depth_conv.conv.7to5_matrix",
            "transforms.4.3.to3": f"blocks.20.{block}.depth_conv.conv.5to3_matrix",
        }
    for name, theirs in pairs.items():
        assert torch.equal(ours[name], state[theirs]), name
    # Every weight has a value of its own, so none was taken twice and none was left out.
    values = sorted(float(t.flatten()[0]) for k, t in ours.items() if not k.endswith("tracked"))
    expected = sorted(float(t.flatten()[0]) for k, t in state.items() if not k.endswith("tracked"))
    assert values == expected


# ProxylessNAS, of OFA's published file (`ofa_proxyless_d234_e346_k357_w1.3`), of CompOFA's code and
# of today's: no squeeze-excite, a norm after `feature_mix_layer`, no `final_expand_layer`, and 21
# blocks after the first: four in each of five stages, one in the last.
PROXYLESS_OUTER = [
    "first_conv.conv.weight",
    *(f"first_conv.bn.{leaf}" for leaf in NORM),
    "feature_mix_layer.conv.weight",
    *(f"feature_mix_layer.bn.{leaf}" for leaf in NORM),
    "classifier.linear.weight",
    "classifier.linear.bias",
]
PROXYLESS_WIDTHS = (16, 24, 40, 80, 96, 192, 320)


def proxyless_checkpoint(form: str, width: float) -> dict[str, Tensor]:
    """A checkpoint of five classes with that form's names, of recognisable values."""

    def wide_as(channels: int) -> int:
        rounded = max(8, int(channels * width + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * channels * width else rounded

    shapes: dict[str, tuple[int, ...]] = {}
    for key in PROXYLESS_OUTER:
        channels = wide_as(32 if key.startswith("first_conv") else 1280)
        shapes[key] = () if key.endswith("tracked") else (channels,)
    shapes["first_conv.conv.weight"] = (wide_as(32), 3, 3, 3)
    shapes["feature_mix_layer.conv.weight"] = (wide_as(1280), wide_as(320), 1, 1)
    shapes["classifier.linear.weight"] = (5, wide_as(1280))
    shapes["classifier.linear.bias"] = (5,)
    for number in range(22):
        stage = (number + 3) // 4
        narrow = wide_as(PROXYLESS_WIDTHS[stage - (number % 4 == 1)]) if number else wide_as(32)
        wide = 6 * narrow if number else narrow
        out, kernel = wide_as(PROXYLESS_WIDTHS[stage]), 7 if number else 3
        for template in LITERAL_KEYS[form]:
            if template.startswith("blocks.0.") != (number == 0) or ".se." in template:
                continue
            key = template.replace("blocks.N.", f"blocks.{number}.")
            layer = {
                "inverted_bottleneck.conv.conv.weight": (wide, narrow, 1, 1),
                "depth_conv.conv.weight": (wide, 1, kernel, kernel),
                "depth_conv.conv.conv.weight": (wide, 1, kernel, kernel),
                "7to5_matrix": (25, 25),
                "5to3_matrix": (9, 9),
                "point_linear.conv.weight": (out, wide, 1, 1),
                "point_linear.conv.conv.weight": (out, wide, 1, 1),
            }
            if key.endswith("bn."):
                channels = out if "point_linear" in key else wide
                shapes |= {key + leaf: (channels,) for leaf in NORM[:4]} | {key + NORM[4]: ()}
            else:
                shapes[key] = next(s for ending, s in layer.items() if key.endswith(ending))
    return {
        key: torch.full(shape, 1 + number / 100) if shape else torch.tensor(7)
        for number, (key, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize("width", [1.0, 1.3])
@pytest.mark.parametrize(
    ("form", "block", "keys"),
    [
        ("published", "mobile_inverted_conv", 446),
        ("compofa", "mobile_inverted_conv", 404),
        ("today", "conv", 446),
    ],
)
def test_proxyless_checkpoints_of_all_three_projects_load(
    tmp_path: Path, form: str, block: str, keys: int, width: float
) -> None:
    state = proxyless_checkpoint(form, width)
    assert len(state) == keys
    torch.save({"state_dict": state}, tmp_path / "checkpoint.pth")
    supernet = import_supernet(tmp_path / "checkpoint.pth")
    assert (supernet.config.family, supernet.config.width_mult) == (PROXYLESS, width)
    assert supernet.config.kind == ("compound" if form == "compofa" else "elastic")
    assert supernet.stem.bn.eps == 1e-3
    ours = supernet.state_dict()
    pairs = {
        "stem.conv.weight": "first_conv.conv.weight",
        "first.depthwise.weight": f"blocks.0.{block}.depth_conv.conv.weight",
        "stages.0.3.expand_bn.bias": f"blocks.4.{block}.inverted_bottleneck.bn.bn.bias",
        "stages.2.1.depthwise_bn.running_mean": f"blocks.10.{block}.depth_conv.bn.bn.running_mean",
        "stages.4.3.project.weight": f"blocks.20.{block}.point_linear.conv.conv.weight",
        "stages.5.0.depthwise.weight": f"blocks.21.{block}.depth_conv.conv.conv.weight",
        "head.expand.weight": "feature_mix_layer.conv.weight",
        "head.expand_bn.running_var": "feature_mix_layer.bn.running_var",
        "head.classifier.bias": "classifier.linear.bias",
    }
    if form != "compofa":
        pairs["transforms.5.0.to5"] = f"blocks.21.{block}.depth_conv.conv.7to5_matrix"
    for name, theirs in pairs.items():
        assert torch.equal(ours[name], state[theirs]), name
    values = sorted(float(t.flatten()[0]) for k, t in ours.items() if not k.endswith("tracked"))
    expected = sorted(float(t.flatten()[0]) for k, t in state.items() if not k.endswith("tracked"))
    assert values == expected


def test_a_proxyless_fault_is_told_by_its_own_names(tmp_path: Path) -> None:
    state = proxyless_checkpoint("published", 1.0)
    del state["blocks.21.mobile_inverted_conv.point_linear.conv.conv.weight"]
    torch.save({"state_dict": state}, tmp_path / "checkpoint.pth")
    with pytest.raises(UserError, match=r"CompOFA's ProxylessNAS: missing blocks\.21\."):
        import_supernet(tmp_path / "checkpoint.pth")


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
