"""What holds a run near its base besides its data: answers of the untouched base to prompts of neither the task nor the
card. Takes those items, gives replay rows to train on and a pull on the weights.

replay_share   that share of the training rows is the base's own answers, learned like any other
kl_weight      once a step a few of them are passed as well; the loss grows by kl_weight times the mean distance of
               the member's outputs from the base's

What the base put out is kept before anything moves, so that no second model is needed, full fine-tuning included.
Which rows a step takes follows from seed and step alone: a run that is resumed takes the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from trimtab.run.adapters import Slice
from trimtab.run.base import Base
from trimtab.spec.recipe import Recipe

if TYPE_CHECKING:
    from trimtab.run.member import Member

ROWS = 4  # of a step: a choice, other counts were not compared; a step took 1.5 times as long with these


def replayed(items: Sequence[Any], recipe: Recipe, examples: int) -> list[Any]:
    """The rows that come to a run's own examples, each of `items` as often as any other."""
    order = _order(len(items), f"{recipe.seed}/replay")
    more = recipe.rows(examples) - examples if items else 0
    return [items[order[i % len(items)]] for i in range(more)]


class Anchor:
    """Of one cohort. `items` were answered by the untouched base, which `base` still is."""

    def __init__(self, base: Base, items: Sequence[Any]):
        self.base, self.items = base, items
        self._kept = self._outputs_of_base()

    @torch.no_grad()
    def _outputs_of_base(self) -> list[Any]:
        kept, learning = [], self.base.learning
        for item in self.items:
            batch = learning.collate(self.base, [item])
            kept.append(learning.remember(learning.outputs(self.base, batch, [Slice(None, 1, batch.length)])))
        return kept

    def pull(self, members: Sequence[Member]) -> None:
        """Adds to the members' gradients."""
        chosen = [self._chosen(m.recipe.seed, m.state.step) for m in members]
        items = [self.items[i] for rows in chosen for i in rows]
        batch = self.base.learning.collate(self.base, items)
        slices = [
            Slice(m.adapter, len(rows), max(self.items[i].size for i in rows))
            for m, rows in zip(members, chosen, strict=True)
        ]
        outputs = self.base.learning.outputs(self.base, batch, slices).split(batch.weights)
        far = [
            self.base.learning.distance(out, self._kept[i])
            for out, i in zip(outputs, (i for rows in chosen for i in rows), strict=True)
        ]
        each = iter(far)
        means = [torch.cat([next(each) for _ in rows]).mean() for rows in chosen]
        weighted = [mean * m.recipe.pull for mean, m in zip(means, members, strict=True)]
        self.base.accelerator.backward(torch.stack(weighted).sum())

    def _chosen(self, seed: int, step: int) -> list[int]:
        """Every item once before any comes again."""
        count = min(ROWS, len(self.items))
        per_round = max(1, len(self.items) // count)
        turn, place = divmod(step, per_round)
        return _order(len(self.items), f"{seed}/anchor/{turn}")[place * count : (place + 1) * count]


def _order(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
