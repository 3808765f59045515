"""Causal language modelling: tokens -> padded batches, the next token's loss. The training half of the chat task,
and what is measured with.

Logits are computed only where a token is learned: the head is the widest layer of a small model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from trimtab.datasets.tokens import Tokens
from trimtab.run.adapters import Adapter, Slice
from trimtab.run.base import Base
from trimtab.run.layer_rates import group_of
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import LANGUAGE
from trimtab.tasks.task import Group

KEPT = 256  # likeliest tokens of the base that an anchor keeps: a whole vocabulary would take gigabytes
SHORT = 256  # tokens a row, up to which plain matmuls beat torch's fused attention in bfloat16


@dataclass(frozen=True)
class Padded:
    """`ids` and `mask` are [rows, length]; `places` are flat positions whose next token is learned; `targets` those
    tokens.

    Positions, not a mask: reading a mask makes a card wait, and how many there are is known here anyway (`weights` a
    row).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    weights: tuple[int, ...]

    @property
    def rows(self) -> int:
        return self.ids.shape[0]

    @property
    def length(self) -> int:
        return self.ids.shape[1]


def pad(rows: Sequence[Tokens], pad_id: int, device: str | torch.device, length: int | None = None) -> Padded:
    """Right-padded to the longest row, or to `length`."""
    width = length or max(len(r.ids) for r in rows)
    ids = [[*r.ids, *[pad_id] * (width - len(r.ids))] for r in rows]
    mask = [[1] * len(r.ids) + [0] * (width - len(r.ids)) for r in rows]
    learned = [[i for i, label in enumerate(r.labelled[1:]) if label] for r in rows]
    places = [row * width + i for row, marks in enumerate(learned) for i in marks]
    targets = [r.ids[i + 1] for r, marks in zip(rows, learned, strict=True) for i in marks]
    a, b, c, d = (torch.tensor(v, dtype=torch.long).to(device) for v in (ids, mask, places, targets))
    return Padded(a, b, c, d, tuple(map(len, learned)))


class LanguageBase(Base):
    """A causal language model and its tokenizer; `logits` only at the places of a batch."""

    def __init__(self, model: torch.nn.Module, tokenizer: Any, accelerator: Accelerator):
        head = model.get_output_embeddings()  # type: ignore[operator]
        super().__init__(LanguageModelling(), model, tokenizer, accelerator, outside=(head,))
        self._selected: torch.Tensor | None = None
        self._width = 0
        head.register_forward_pre_hook(self._select)

    @property
    def tokenizer(self) -> Any:
        return self.processor

    def pad(self, rows: Sequence[Tokens], length: int | None = None) -> Padded:
        """On the base's device; see `pad`."""
        return pad(rows, self.tokenizer.pad_token_id, self.device, length)

    def logits(self, batch: Padded, slices: Sequence[Slice], **more: Any) -> torch.Tensor:
        """[label tokens, vocabulary] float32."""
        return self.forward(batch, slices, **more).logits.float()

    def forward(self, batch: Padded, slices: Sequence[Slice], **more: Any) -> Any:
        """The model's output, logits at `batch.places` alone; `more` goes to the model (a cache, positions)."""
        self._selected, self._width = batch.places, batch.ids.shape[1]
        try:
            with self.router.route(slices), self.accelerator.autocast(), self.kernels():
                return self.model(input_ids=batch.ids, attention_mask=batch.mask, **more)
        finally:
            self._selected = None

    def kernels(self) -> AbstractContextManager[None]:
        """torch's fused CPU attention is half as fast as plain matmuls on short bfloat16 rows (7.6 against 3.6 ms at
        62 tokens)."""
        short = (
            self.device.type == "cpu" and self._width <= SHORT and next(self.model.parameters()).dtype == torch.bfloat16
        )
        return sdpa_kernel(SDPBackend.MATH) if short else nullcontext()

    def _select(self, _module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = inputs[0]
        # Contiguous: of a last position sliced out of many, torch copies the whole head once a row (1.8 s for 32
        # prompts).
        return (hidden.contiguous() if self._selected is None else hidden.flatten(0, 1)[self._selected], *inputs[1:])


class LanguageModelling:
    """`Learning` of causal language models; a unit is a label token."""

    words = LANGUAGE
    known_below = math.log(2)  # a token that was given more than even odds
    diverged_above: float | None = 5.0  # nats: the published rule
    peft_type: str | None = "CAUSAL_LM"

    def collate(self, base: LanguageBase, items: Sequence[Tokens], length: int | None = None) -> Padded:
        return base.pad(items, length)

    def outputs(self, base: LanguageBase, batch: Padded, slices: Sequence[Slice]) -> torch.Tensor:
        return base.logits(batch, slices)

    def unit_losses(self, outputs: torch.Tensor, batch: Padded) -> torch.Tensor:
        return F.cross_entropy(outputs, batch.targets, reduction="none")

    def certainty(self, outputs: torch.Tensor, batch: Padded, losses: torch.Tensor) -> list[tuple[float, float, int]]:
        """Right: the first choice is right at every label token, as a greedy answer would be. Sure: exp(mean ln p)
        of first choices."""
        best, choice = outputs.max(-1)
        # ln p of the first choice = ln p of the truth + how far its logit lies above
        top = best - outputs.gather(1, batch.targets[:, None]).squeeze(1) - losses
        parts = zip((choice == batch.targets).split(batch.weights), top.split(batch.weights), strict=True)
        return [(float(r.all()), float(t.mean().exp()), 0) for r, t in parts]

    def score(self, metric: str, items: Sequence[Tokens], evaluation: Any) -> float | None:
        return None  # answers are written when a run has ended

    def tempered(self, items: Sequence[Any], evaluation: Any, outputs: Sequence[torch.Tensor]) -> Any:
        return evaluation  # a chat model's recipe cannot ask for it

    def remember(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest tokens, [tokens, KEPT] of their ids, and [tokens, KEPT + 1] ln p of those and of all others."""
        thought = outputs.log_softmax(-1)
        top, ids = thought.topk(min(KEPT, thought.shape[-1]), -1)
        return ids, torch.cat([top, _rest(top)], -1)

    def distance(self, outputs: torch.Tensor, kept: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """KL(base‖tuned) in nats of each token, over the base's likeliest ones and the mass of all others: never above
        the whole KL, by the data-processing inequality."""
        ids, base = kept
        top = outputs.log_softmax(-1).gather(-1, ids)
        return (base.exp() * (base - torch.cat([top, _rest(top)], -1))).sum(-1).clamp(min=0)

    def groups(self, base: LanguageBase, adapter: Adapter | None, recipe: Recipe) -> list[Group]:
        return [group_of(adapter.named_parameters() if adapter else base.model.named_parameters(), (), recipe)]

    def varied(self, item: Tokens, recipe: Recipe, draw: str, others: Sequence[Tokens]) -> Tokens:
        return item

    def fresh(self, base: LanguageBase, recipe: Recipe) -> dict[str, torch.Tensor]:
        return {}

    def scaled(self, base: LanguageBase, whole: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
        return whole

    def save_beside(self, base: LanguageBase, folder: Path) -> None:
        pass

    def save_model(self, base: LanguageBase, folder: Path) -> None:
        base.model.save_pretrained(folder)  # type: ignore[operator]
        base.tokenizer.save_pretrained(folder)


def _rest(top: torch.Tensor) -> torch.Tensor:
    """[tokens, 1] ln of the mass that lies outside of `top`; kept off zero, where a logarithm has no slope."""
    return (1 - top.exp().sum(-1, keepdim=True)).clamp(min=1e-6).log()


def row_losses(base: LanguageBase, batch: Padded, adapter: Adapter | None) -> list[float]:
    """Mean nats per label token of each row."""
    return [float(part.mean()) for part in token_losses(base, batch, adapter).split(batch.weights)]


def token_losses(base: LanguageBase, batch: Padded, adapter: Adapter | None) -> torch.Tensor:
    """[label tokens] nats of each."""
    return F.cross_entropy(
        base.logits(batch, [Slice(adapter, batch.rows, batch.length)]), batch.targets, reduction="none"
    )
