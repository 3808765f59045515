"""Learning what is in a picture: pictures -> batches of pixels, the loss of the right label. The training half of image
classification."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trimtab.datasets.picture_items import Mixed, Seen, Varied
from trimtab.run.adapters import Slice, seed_of
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import PICTURES
from trimtab.tasks.image_base import ImageBase
from trimtab.tasks.label_learning import LabelLearning, targets_of
from trimtab.tasks.pixels import mixed_pixels


@dataclass(frozen=True)
class PixelBatch:
    """`pixels` [rows, 3, side, side], as the network takes them; `targets`, `smoothing`, `scale` [rows]; `others`,
    `shares`: of a mixed picture the second label, and what the first counts."""

    pixels: torch.Tensor
    targets: torch.Tensor
    smoothing: torch.Tensor
    scale: torch.Tensor
    others: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        return self.pixels.shape[0]

    @property
    def length(self) -> int:
        return self.pixels.shape[-1]

    @property
    def weights(self) -> tuple[int, ...]:
        return (1,) * self.rows


def _how(recipe: Recipe, draw: str) -> Varied | None:
    if not (recipe.random_crop or recipe.random_flip or recipe.color_jitter):
        return None
    return Varied(seed_of(draw, recipe.seed), recipe.random_crop, recipe.random_flip, recipe.color_jitter)


def mixed(other: Seen, recipe: Recipe, side: int, rng: random.Random) -> Mixed:
    """Blended (Zhang et al. 2018) or, where both are asked for half of the time, cut (Yun et al. 2019)."""
    cuts = bool(recipe.cutmix) and (not recipe.mixup or rng.random() < 0.5)
    alpha = recipe.cutmix if cuts else recipe.mixup
    share = rng.betavariate(alpha, alpha)
    if not cuts:
        return Mixed(other, share, None)
    half = math.sqrt(1 - share) * side / 2
    middle = rng.uniform(0, side), rng.uniform(0, side)
    top, left, bottom, right = (min(side, max(0, round(m + s * half))) for s in (-1, 1) for m in middle)
    return Mixed(other, 1 - (bottom - top) * (right - left) / side**2, (top, left, bottom, right))


class ImageLearning(LabelLearning):
    """`Learning` of image classifiers."""

    words = PICTURES
    peft_type: str | None = None  # PEFT has no type for pictures: its plain model

    def varied(self, item: Seen, recipe: Recipe, draw: str, others: Sequence[Seen]) -> Seen:
        one = replace(super().varied(item, recipe, draw, others), varied=_how(recipe, draw))
        if not (recipe.mixup or recipe.cutmix):
            return one
        rng = random.Random(f"{recipe.seed}/{draw}")
        other = others[rng.randrange(len(others))]
        return replace(one, mixed=mixed(replace(other, varied=_how(recipe, f"{draw}/other")), recipe, item.size, rng))

    def collate(self, base: ImageBase, items: Sequence[Seen], length: int | None = None) -> PixelBatch:  # type: ignore[override]
        mean, spread = (torch.tensor(v).view(3, 1, 1) for v in (base.mean, base.spread))
        pixels = (mixed_pixels(base.pixels, items) - mean) / spread
        made = PixelBatch(*(v.to(base.device) for v in (pixels, *targets_of(items))))
        if not any(i.mixed for i in items):
            return made
        second = [(i.mixed.other.label, i.mixed.share) if i.mixed else (i.label, 1.0) for i in items]
        others, shares = (torch.tensor(v).to(base.device) for v in zip(*second, strict=True))
        return replace(made, others=others, shares=shares)

    def unit_losses(self, outputs: torch.Tensor, batch: PixelBatch) -> torch.Tensor:
        """Of a mixed picture both labels' losses, by their shares."""
        first = super().unit_losses(outputs, batch)
        if batch.others is None or batch.shares is None:
            return first
        second = super().unit_losses(outputs, replace(batch, targets=batch.others))
        return torch.lerp(second, first, batch.shares)

    def outputs(self, base: ImageBase, batch: PixelBatch, slices: Sequence[Slice]) -> torch.Tensor:  # type: ignore[override]
        with base.router.route(slices), base.accelerator.autocast():
            return base.logits(batch.pixels).float()

    def save_beside(self, base: Any, folder: Path) -> None:
        super().save_beside(base, folder)
        base.save_processor(folder)
