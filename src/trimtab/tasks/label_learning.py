"""Learning labels: texts -> padded batches, the loss of the right label. The training half of text classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trimtab.analysis import temperature
from trimtab.analysis.label_scores import macro_f1
from trimtab.analysis.stats import average
from trimtab.datasets.label_items import Labelled
from trimtab.run.adapters import Adapter, Slice
from trimtab.run.layer_rates import group_of
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import LABELS
from trimtab.tasks.classifier_base import ClassifierBase
from trimtab.tasks.task import Group


@dataclass(frozen=True)
class PaddedTexts:
    """`ids`, `mask` [rows, length]; `targets`, `smoothing`, `scale` [rows]."""

    ids: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor
    smoothing: torch.Tensor
    scale: torch.Tensor

    @property
    def rows(self) -> int:
        return self.ids.shape[0]

    @property
    def length(self) -> int:
        return self.ids.shape[1]

    @property
    def weights(self) -> tuple[int, ...]:
        return (1,) * self.rows


def targets_of(items: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(targets, smoothing, scale) [rows]."""
    return (
        torch.tensor([i.label for i in items]),
        torch.tensor([i.smoothing for i in items]),
        torch.tensor([i.scale for i in items]),
    )


class LabelLearning:
    """`Learning` of classifiers; a unit is an example."""

    words = LABELS
    known_below = 0.105  # nats: nine to one for the right label
    diverged_above: float | None = None  # the right label may be unlikely in a run that has learned much
    peft_type: str | None = "SEQ_CLS"

    def collate(self, base: ClassifierBase, items: Sequence[Labelled], length: int | None = None) -> PaddedTexts:
        width, pad = length or max(i.size for i in items), base.processor.pad_token_id
        ids = [[*i.ids, *[pad] * (width - i.size)] for i in items]
        mask = [[1] * i.size + [0] * (width - i.size) for i in items]
        made = *(torch.tensor(v) for v in (ids, mask)), *targets_of(items)
        return PaddedTexts(*(v.to(base.device) for v in made))

    def outputs(self, base: ClassifierBase, batch: PaddedTexts, slices: Sequence[Slice]) -> torch.Tensor:
        with base.router.route(slices), base.accelerator.autocast():
            return base.model(input_ids=batch.ids, attention_mask=batch.mask).logits.float()

    def varied(self, item: Any, recipe: Recipe, draw: str, others: Sequence[Any]) -> Any:
        if not (recipe.label_smoothing_factor or recipe.class_weight):
            return item
        scale = item.balance if recipe.class_weight else 1.0
        return replace(item, smoothing=recipe.label_smoothing_factor, scale=scale)

    def unit_losses(self, outputs: torch.Tensor, batch: Any) -> torch.Tensor:
        """Smoothed and weighted as torch's cross_entropy does, row by row: members may differ in it."""
        logs = outputs.log_softmax(-1)
        right = -logs.gather(-1, batch.targets[:, None])[:, 0]
        return torch.lerp(right, -logs.mean(-1), batch.smoothing) * batch.scale

    def certainty(
        self, outputs: torch.Tensor, batch: PaddedTexts, _losses: torch.Tensor
    ) -> list[tuple[float, float, int]]:
        sure, choice = outputs.softmax(-1).max(-1)
        return [(float(c == t), float(s), int(c)) for c, t, s in zip(choice, batch.targets, sure, strict=True)]

    def score(self, metric: str, items: Sequence[Any], evaluation: Any) -> float:
        """Accuracy, or macro F1 as the card has it."""
        truth = [i.label for i in items]
        if metric == "accuracy":
            return average(evaluation.right)
        return macro_f1(np.array(truth), np.array(evaluation.choice))

    def tempered(self, items: Sequence[Any], evaluation: Any, outputs: Sequence[torch.Tensor]) -> Any:
        """Losses are means over the labels of each item, as `unit_losses` has them of items that are not varied."""
        logs, truth = torch.stack(list(outputs)).double().numpy(), [i.label for i in items]
        degree = temperature.fitted(logs, truth)
        scaled = temperature.at(logs, degree)
        losses = (-scaled[np.arange(len(truth)), truth]).tolist()
        return replace(evaluation, losses=losses, sure=np.exp(scaled.max(-1)).tolist(), temperature=degree)

    def remember(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.log_softmax(-1)

    def distance(self, outputs: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """KL(base‖tuned) over the labels, nats."""
        return (kept.exp() * (kept - outputs.log_softmax(-1))).sum(-1).clamp(min=0)

    def groups(self, base: ClassifierBase, adapter: Adapter | None, recipe: Recipe) -> list[Group]:
        named = adapter.named_parameters() if adapter else base.model.named_parameters()
        return [group_of(named, base.head, recipe)]

    def fresh(self, base: ClassifierBase, recipe: Recipe) -> dict[str, torch.Tensor]:
        return base.head_of(recipe)

    def scaled(self, base: ClassifierBase, whole: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
        return {n: v if n in base.drawn else base.head[n] + share * (v - base.head[n]) for n, v in whole.items()}

    def save_model(self, base: ClassifierBase, folder: Path) -> None:
        base.save(folder)

    def save_beside(self, base: ClassifierBase, folder: Path) -> None:
        base.save_labels(folder)
