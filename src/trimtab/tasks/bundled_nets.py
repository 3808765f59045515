"""The bundled image networks, from their packages' files to a folder that transformers reads. Made once.

Their heads for ImageNet's 1,000 classes are left out: a head of a person's own labels takes their place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageClassification

from trimtab.datasets.plain_pickle import load as plain_pickle
from trimtab.tasks import small_nets
from trimtab.tasks.small_nets import EfficientNetLite0, SmallNetConfig, SmallNetForImageClassification

AutoConfig.register(small_nets.MODEL_TYPE, SmallNetConfig, exist_ok=True)
AutoModelForImageClassification.register(SmallNetConfig, SmallNetForImageClassification, exist_ok=True)

SIDE = 96  # pixels: 224 take five times as long on a processor
# As its makers gave it pictures: blue first, minus these, not divided by 255. Here the first filter reads red first.
CAFFE_MEAN = (123.68, 116.779, 103.939)
LITE_MEAN, LITE_SPREAD = 127.0, 128.0


def convert_squeezenet(folder: Path, target: Path) -> None:
    read = plain_pickle(folder / "squeezenet_weights.pkl")
    weights: dict[str, torch.Tensor] = {}
    for key, (filters, bias) in read.items():
        if (name := _squeezenet_name(str(key))) is not None:
            kernel = torch.tensor(filters.transpose(3, 2, 0, 1).copy())
            weights[f"{name}.weight"] = kernel.flip(1) if name == "stem" else kernel
            weights[f"{name}.bias"] = torch.tensor(bias)
    _write("squeezenet1_1", weights, [v / 255 for v in CAFFE_MEAN], [1 / 255] * 3, target)


def _squeezenet_name(key: str) -> str | None:
    if key == "conv1":
        return "stem"
    if not key.startswith("fire"):
        return None
    block, _, leaf = key.partition("/")
    return f"blocks.{int(block[4:]) - 2}.{leaf.replace('squeeze1x1', 'squeeze')}"


def convert_lite0(folder: Path, target: Path) -> None:
    read = torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True)
    own = EfficientNetLite0().state_dict()
    weights = {name: read[_lite_name(name)] for name in own}
    _write("efficientnet_lite0", weights, [LITE_MEAN / 255] * 3, [LITE_SPREAD / 255] * 3, target)


LITE_NAMES = {
    "stem": "_conv_stem", "stem_norm": "_bn0", "top": "_conv_head", "top_norm": "_bn1", "expand": "_expand_conv",
    "filter": "_depthwise_conv", "project": "_project_conv", "project_norm": "_bn2",
}  # fmt: skip


def _lite_name(own: str) -> str:
    *before, module, leaf = own.split(".")
    if not before:
        return f"{LITE_NAMES[module]}.{leaf}"
    known = LITE_NAMES | {"expand_norm": "_bn0", "filter_norm": "_bn1"}
    return f"_blocks.{before[1]}.{known[module]}.{leaf}"


def _write(network: str, weights: Mapping[str, torch.Tensor], mean: Any, spread: Any, target: Path) -> None:
    kept = {f"body.{n}": v.float().contiguous() for n, v in weights.items()}
    save_file(kept, target / "model.safetensors", metadata={"format": "pt"})
    config = SmallNetConfig(network=network, image_size=SIDE, architectures=["SmallNetModel"])
    config.save_pretrained(target)
    write_processor(target, SIDE, mean, spread)


def write_processor(folder: Path, side: int, mean: Sequence[float], spread: Sequence[float], resample: int = 2) -> None:
    """For transformers' AutoImageProcessor: a square of so many pixels, as tasks/pixels.py makes it."""
    how = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": side, "width": side},
        "resample": resample, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": list(mean), "image_std": list(spread),
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(how, indent=2), encoding="utf-8")


def save_code(config: Any, folder: Path) -> None:
    """Beside weights of such a network, for those who have no trimtab."""
    names = {"AutoConfig": SmallNetConfig, "AutoModelForImageClassification": SmallNetForImageClassification}
    config.update({"auto_map": {auto: f"small_nets.{kind.__name__}" for auto, kind in names.items()}})
    shutil.copy(str(small_nets.__file__), folder / "small_nets.py")


CONVERT: dict[str, Callable[[Path, Path], None]] = {
    "squeezenet": convert_squeezenet, "efficientnet-lite0": convert_lite0,
}  # fmt: skip
