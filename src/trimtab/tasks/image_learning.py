"""Learning what is in a picture: pictures -> batches of pixels, the loss of the right label. The training half of image
classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trimtab.datasets.picture_items import Seen, Varied
from trimtab.run.adapters import Slice, seed_of
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import PICTURES
from trimtab.tasks.image_base import ImageBase
from trimtab.tasks.label_learning import LabelLearning, targets_of


@dataclass(frozen=True)
class PixelBatch:
    """`pixels` [rows, 3, side, side], as the network takes them; `targets`, `smoothing`, `scale` [rows]."""

    pixels: torch.Tensor
    targets: torch.Tensor
    smoothing: torch.Tensor
    scale: torch.Tensor

    @property
    def rows(self) -> int:
        return self.pixels.shape[0]

    @property
    def length(self) -> int:
        return self.pixels.shape[-1]

    @property
    def weights(self) -> tuple[int, ...]:
        return (1,) * self.rows


class ImageLearning(LabelLearning):
    """`Learning` of image classifiers."""

    words = PICTURES
    peft_type: str | None = None  # PEFT has no type for pictures: its plain model

    def varied(self, item: Seen, recipe: Recipe, draw: str) -> Seen:
        changed = recipe.random_crop or recipe.random_flip or recipe.color_jitter
        how = Varied(seed_of(draw, recipe.seed), recipe.random_crop, recipe.random_flip, recipe.color_jitter)
        return replace(super().varied(item, recipe, draw), varied=how if changed else None)

    def collate(self, base: ImageBase, items: Sequence[Seen], length: int | None = None) -> PixelBatch:  # type: ignore[override]
        mean, spread = (torch.tensor(v).view(3, 1, 1) for v in (base.mean, base.spread))
        pixels = (base.pixels.of(items) - mean) / spread
        made = pixels, *targets_of(items)
        return PixelBatch(*(v.to(base.device) for v in made))

    def outputs(self, base: ImageBase, batch: PixelBatch, slices: Sequence[Slice]) -> torch.Tensor:  # type: ignore[override]
        with base.router.route(slices), base.accelerator.autocast():
            more = {} if batch.length == getattr(base.model.config, "image_size", None) else base.larger
            return base.model(pixel_values=batch.pixels.to(base.dtype), **more).logits.float()

    def save_beside(self, base: Any, folder: Path) -> None:
        super().save_beside(base, folder)
        base.save_processor(folder)
