"""Runs trained together over one frozen base. Takes a model and recipes, gives forward/backward over any of its members.

Modes: "fast" puts all members' rows into one pass; "certify" passes each member's rows alone, so that its numbers are
bit for bit those of the run alone (CPU, float32). Full fine-tuning is a cohort of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from trimtab.data.prepare import Tokenised
from trimtab.data.tokens import Tokens
from trimtab.errors import RunError
from trimtab.run.adapters import Adapter, Router, Slice, attach, find_targets
from trimtab.run.batches import Padded, pad
from trimtab.run.guards import Limits
from trimtab.run.member import Member
from trimtab.spec.recipe import Recipe, can_share_base

Mode = Literal["fast", "certify"]


class Base:
    """A loaded model with its tokenizer: what the members of a cohort share."""

    def __init__(self, model: torch.nn.Module, tokenizer: Any, accelerator: Accelerator):
        self.model, self.tokenizer, self.accelerator = model, tokenizer, accelerator
        self.router = Router()
        self.device = accelerator.device
        self._selected: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._select)  # type: ignore[operator]

    def logits(self, batch: Padded, slices: Sequence[Slice]) -> torch.Tensor:
        """[labels, vocabulary] float32, only where the next token is learned: the head is the widest layer of a small model."""
        self._selected = batch.predicts
        try:
            with self.router.route(slices), self.accelerator.autocast(), self._attention(batch):
                return self.model(input_ids=batch.ids, attention_mask=batch.mask).logits.float()
        finally:
            self._selected = None

    def _attention(self, batch: Padded) -> AbstractContextManager[None]:
        """torch's fused CPU attention is half as fast as plain matmuls on short bfloat16 rows (7.6 against 3.6 ms at 62 tokens)."""
        short = (
            self.device.type == "cpu"
            and batch.ids.shape[1] <= 256
            and next(self.model.parameters()).dtype == torch.bfloat16
        )
        return sdpa_kernel(SDPBackend.MATH) if short else nullcontext()

    def _select(self, _module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = inputs[0]
        # Contiguous: of a last position sliced out of many, torch copies the whole head once a row (1.8 s for 32 prompts).
        return (hidden.contiguous() if self._selected is None else hidden[self._selected], *inputs[1:])

    def pad(self, rows: Sequence[Tokens], length: int | None = None) -> Padded:
        return pad(rows, self.tokenizer.pad_token_id, self.device, length)


class Cohort:
    def __init__(
        self,
        base: Base,
        recipes: Sequence[Recipe],
        data: Tokenised,
        mode: Mode = "fast",
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
    ):
        if any(not can_share_base(recipes[0], r) for r in recipes[1:]):
            raise RunError(
                "these recipes cannot share one frozen base (they differ in model, data, max_length, bf16 or "
                "eval_steps, or fine-tune all weights); run them as cohorts of one"
            )
        self.base, self.data, self.mode, self.clock = base, data, mode, clock
        self.members = [self._member(r, limits) for r in recipes]
        self.shares = recipes[0].evaluations()

    def _member(self, recipe: Recipe, limits: Limits) -> Member:
        train, model = self.data.tokens["train"], self.base.model
        if recipe.method == "full":
            model.requires_grad_(True)
            # The whole random state belongs to the one member: dropout of the model, if it has any.
            torch.manual_seed(recipe.seed)
            parameters = list({id(p): p for p in model.parameters()}.values())
            return Member(recipe, train, parameters, None, limits, self.clock)
        targets = find_targets(model, recipe.target_modules)
        attach(model, targets, self.base.router)
        adapter = Adapter(targets, recipe.r, recipe.lora_alpha, recipe.lora_dropout, recipe.seed, str(self.base.device))
        return Member(recipe, train, adapter.parameters(), adapter, limits, self.clock)

    @property
    def running(self) -> list[Member]:
        return [m for m in self.members if m.running]

    def forward_backward(self, members: Sequence[Member]) -> list[tuple[float, int]]:
        """One micro-batch of each member: its share of the effective batch's loss (nats/token) and its tokens."""
        groups = [list(members)] if self.mode == "fast" else [[m] for m in members]
        with ExitStack() as stack:
            self._training(members, True, stack)
            return [result for group in groups for result in self._pass(group)]

    def _pass(self, members: list[Member]) -> list[tuple[float, int]]:
        pieces = [m.micro_batch() for m in members]
        length = max(len(t.ids) for rows, _ in pieces for t in rows)
        batches = [self.base.pad(rows, length) for rows, _ in pieces]
        logits = self.base.logits(
            joined(batches), [_slice(m, rows) for m, (rows, _) in zip(members, pieces, strict=True)]
        )
        parts = logits.split([len(b.targets) for b in batches])
        losses = [
            F.cross_entropy(part, b.targets, reduction="sum") / labels
            for part, b, (_, labels) in zip(parts, batches, pieces, strict=True)
        ]
        self.base.accelerator.backward(torch.stack(losses).sum())
        return [
            (float(loss.detach()), sum(len(t.ids) for t in rows))
            for loss, (rows, _) in zip(losses, pieces, strict=True)
        ]

    @torch.no_grad()
    def nll(self, members: Sequence[Member], rows: Sequence[Tokens], batch_size: int = 16) -> list[list[float]]:
        """Mean nats per label token of each row, for each member: the dense, paired loss that decisions are made on."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        found = [[0.0] * len(rows) for _ in members]
        with ExitStack() as stack:
            self._training(members, False, stack)
            for start in range(0, len(order), batch_size):
                chunk = order[start : start + batch_size]
                batch = self.base.pad([rows[i] for i in chunk])
                for values, member in zip(found, members, strict=True):
                    for i, value in zip(chunk, row_nll(self.base, batch, member.adapter), strict=True):
                        values[i] = value
        return found

    def _training(self, members: Sequence[Member], on: bool, stack: ExitStack) -> None:
        """Dropout on or off; the frozen base of a LoRA cohort always stays in evaluation mode."""
        for m in members:
            if m.adapter:
                stack.callback(setattr, m.adapter, "training", m.adapter.training)
                m.adapter.training = on
            else:
                stack.callback(self.base.model.train, self.base.model.training)
                self.base.model.train(on)


def row_nll(base: Base, batch: Padded, adapter: Adapter | None) -> list[float]:
    """Mean nats per label token of each row."""
    slices = [Slice(adapter, batch.rows, batch.ids.shape[1])]
    losses = F.cross_entropy(base.logits(batch, slices), batch.targets, reduction="none")
    counts = batch.predicts.sum(1)
    return [float(part.mean()) for part in losses.split(counts.tolist())]


def joined(batches: Sequence[Padded]) -> Padded:
    """Batches of one length, stacked."""
    if len(batches) == 1:
        return batches[0]
    return Padded(*(torch.cat([getattr(b, f) for b in batches]) for f in ("ids", "mask", "predicts", "targets")))


def _slice(member: Member, rows: Sequence[Tokens]) -> Slice:
    return Slice(member.adapter, len(rows), max(len(t.ids) for t in rows))
