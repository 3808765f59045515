"""Two small convolutional networks with a linear head on their pooled features: SqueezeNet 1.1 (Iandola et al. 2016)
and EfficientNet-Lite0 (Tan & Le 2019, in its variant for phones). Needs torch and transformers alone: this file is
saved beside the weights, so that `AutoModelForImageClassification.from_pretrained(FOLDER, trust_remote_code=True)`
loads them where there is no trimtab.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

MODEL_TYPE = "small-net"


class SmallNetConfig(PreTrainedConfig):
    """`network`: "squeezenet1_1" or "efficientnet_lite0"; `image_size` pixels a side that it is usually given."""

    model_type = MODEL_TYPE

    def __init__(self, network: str = "efficientnet_lite0", image_size: int = 224, **more: Any):
        self.network, self.image_size = network, image_size
        super().__init__(**more)


class SmallNetForImageClassification(PreTrainedModel):
    """Logits [rows, labels] of `pixel_values` [rows, 3, height, width]; with `labels` [rows] also their mean loss."""

    config_class = SmallNetConfig
    base_model_prefix = "body"
    main_input_name = "pixel_values"

    def __init__(self, config: Any):
        super().__init__(config)
        body: Any = {"squeezenet1_1": SqueezeNet, "efficientnet_lite0": EfficientNetLite0}[config.network]()
        self.body, width = body, body.width
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **_more: Any
    ) -> ImageClassifierOutputWithNoAttention:
        pooled = self.body(pixel_values).mean((2, 3))
        # each row to mean 0 and variance 1: the two networks differ fivefold in the size of their features, and one
        # rate has to serve the head of both
        logits = self.classifier(F.layer_norm(pooled, pooled.shape[-1:]))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)


class SqueezeNet(nn.Module):
    width = 512
    FIRES = ((64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128),
             (256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256))  # fmt: skip
    POOLED_BEFORE = (0, 2, 4)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, 2, padding=1)
        self.blocks = nn.ModuleList(Fire(*sizes) for sizes in self.FIRES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        for i, block in enumerate(self.blocks):
            x = block(F.max_pool2d(x, 3, 2) if i in self.POOLED_BEFORE else x)
        return x


class Fire(nn.Module):
    """Squeezed to few channels, then expanded by small and by large filters."""

    def __init__(self, into: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(into, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class EfficientNetLite0(nn.Module):
    width = 1280
    # repeats, kernel, stride of the first, expansion, channels
    STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
              (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = SameConv(3, 32, 3, 2), _norm(32)
        made, into = [], 32
        for repeats, kernel, stride, expansion, channels in self.STAGES:
            for i in range(repeats):
                made.append(MobileBlock(into, channels, kernel, stride if i == 0 else 1, expansion))
                into = channels
        self.blocks = nn.ModuleList(made)
        self.top, self.top_norm = SameConv(into, self.width, 1), _norm(self.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.top_norm(self.top(x)))


class MobileBlock(nn.Module):
    """Widened, filtered channel by channel, narrowed; added to what came in where the shapes agree."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = into * expansion
        if expansion != 1:
            self.expand, self.expand_norm = SameConv(into, wide, 1), _norm(wide)
        self.filter, self.filter_norm = SameConv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self.project, self.project_norm = SameConv(wide, out, 1), _norm(out)
        self.widened, self.added = expansion != 1, stride == 1 and into == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self.expand_norm(self.expand(x))) if self.widened else x
        y = F.relu6(self.filter_norm(self.filter(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.added else y


class SameConv(nn.Conv2d):
    """Padded as TensorFlow does: the outer row and column more at the right and below."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(into, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        over = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        if any(over):
            x = F.pad(x, [over[1] // 2, over[1] - over[1] // 2, over[0] // 2, over[0] - over[0] // 2])
        return super().forward(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
