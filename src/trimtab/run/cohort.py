"""Runs trained together over one frozen base. Takes a model and recipes, gives forward/backward over any of its members.

Modes: "fast" puts all members' rows into one pass; "certify" passes each member's rows alone, so that its numbers are
bit for bit those of the run alone (CPU, float32). Full fine-tuning is a cohort of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
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
from trimtab.run.memory import in_batches, is_out_of_memory, release
from trimtab.run.prefix import Prefix
from trimtab.run.recompute import recomputing
from trimtab.spec.recipe import Recipe, can_share_base

Mode = Literal["fast", "certify"]
Passed = tuple[torch.Tensor, int, Sequence[torch.Tensor]]  # share of the loss, tokens, nats of each row's label tokens
Work = tuple[Member, list[Tokens], int]  # a member, its rows, and the labels of the effective batch they belong to


class Base:
    """A loaded model with its tokenizer: what the members of a cohort share."""

    def __init__(self, model: torch.nn.Module, tokenizer: Any, accelerator: Accelerator):
        self.model, self.tokenizer, self.accelerator = model, tokenizer, accelerator
        self.router = Router()
        self.device = accelerator.device
        self.say: Callable[[str], None] = lambda _: None  # told what a person should know
        self._selected: torch.Tensor | None = None
        self._width = 0
        model.get_output_embeddings().register_forward_pre_hook(self._select)  # type: ignore[operator]

    def logits(self, batch: Padded, slices: Sequence[Slice], **more: Any) -> torch.Tensor:
        """[labels, vocabulary] float32, only where the next token is learned: the head is the widest layer of a small model."""
        return self.forward(batch, slices, **more).logits.float()

    def forward(self, batch: Padded, slices: Sequence[Slice], **more: Any) -> Any:
        """The model's output, logits at `batch.places` alone; `more` goes to the model (a cache, positions, inputs_embeds for the ids)."""
        ids = {} if "inputs_embeds" in more else {"input_ids": batch.ids}
        self._selected, self._width = batch.places, batch.ids.shape[1]
        try:
            with self.router.route(slices), self.accelerator.autocast(), self.attention():
                return self.model(**ids, attention_mask=batch.mask, **more)
        finally:
            self._selected = None

    def attention(self) -> AbstractContextManager[None]:
        """torch's fused CPU attention is half as fast as plain matmuls on short bfloat16 rows (7.6 against 3.6 ms at 62 tokens)."""
        short = (
            self.device.type == "cpu" and self._width <= 256 and next(self.model.parameters()).dtype == torch.bfloat16
        )
        return sdpa_kernel(SDPBackend.MATH) if short else nullcontext()

    def _select(self, _module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = inputs[0]
        # Contiguous: of a last position sliced out of many, torch copies the whole head once a row (1.8 s for 32 prompts).
        return (hidden.contiguous() if self._selected is None else hidden.flatten(0, 1)[self._selected], *inputs[1:])

    def pad(self, rows: Sequence[Tokens], length: int | None = None) -> Padded:
        return pad(rows, self.tokenizer.pad_token_id, self.device, length)


@dataclass(frozen=True)
class Judged:
    """By row: nats per label token; whether the first choice is right at every label token (a greedy answer would be); how sure
    the model was of its first choices, exp(mean ln p)."""

    nats: list[float]
    right: list[float]
    sure: list[float]

    @classmethod
    def empty(cls, rows: int) -> Judged:
        return cls([0.0] * rows, [0.0] * rows, [0.0] * rows)


class Cohort:
    def __init__(
        self,
        base: Base,
        recipes: Sequence[Recipe],
        data: Tokenised,
        mode: Mode = "fast",
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
        listen_every: int = 0,
        trunk: bool = True,
        prefix: Prefix | None = None,
    ):
        """`prefix`: train the layers above it alone, on its kept states. `trunk`: runs that differ only in length share the steps that are the same. `listen_every` N: every Nth update is also taken example by example, to tell their voices apart; 0: never."""
        if any(not can_share_base(recipes[0], r) for r in recipes[1:]):
            raise RunError(
                "these recipes cannot share one frozen base (they differ in model, data, max_length, bf16 or "
                "eval_steps, or fine-tune all weights); run them as cohorts of one"
            )
        self.base, self.data, self.mode, self.clock, self.listen_every = base, data, mode, clock, listen_every
        self.trunk, self.prefix = trunk, prefix
        self.shrunk: Callable[[Member, str], None] = lambda _member, _text: None  # told of a smaller micro-batch
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
        if self.prefix:
            targets = {n: m for n, m in targets.items() if self.prefix.is_upper(n)}
        attach(model, targets, self.base.router)
        adapter = Adapter(targets, recipe.r, recipe.lora_alpha, recipe.lora_dropout, recipe.seed, str(self.base.device))
        return Member(recipe, train, adapter.parameters(), adapter, limits, self.clock)

    @property
    def running(self) -> list[Member]:
        return [m for m in self.members if m.running]

    def forward_backward(self, members: Sequence[Member]) -> list[tuple[float, int]]:
        """One micro-batch of each member: its share of the effective batch's loss (nats/token) and its tokens.

        Where memory runs out the members halve their micro-batches, begin the step again and say so.
        """
        for member in members:
            if self.listen_every and not member.progress.micro and member.progress.step % self.listen_every == 0:
                self._listen(member)
        while True:
            try:
                results = self.passes([(m, *m.micro_batch()) for m in members])
                for member, (_, _, nats) in zip(members, results, strict=True):
                    member.hear(nats)
                return [(float(loss), tokens) for loss, tokens, _ in results]
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                why = str(error).splitlines()[0]
            self._shrink(members, why)

    def _listen(self, member: Member) -> None:
        """The coming update, one example a pass: whose voices they are. Changes no weight and no draw; takes as long as a step and more."""
        rows = [(i, member.train[i]) for i in member.plan.examples(member.progress.step)]
        if len(rows) < 2:
            return
        state = member.adapter.generator.get_state() if member.adapter else None
        drawn = torch.get_rng_state()
        labels = sum(row.labels for _, row in rows)
        for i, row in rows:
            ((_, _, nats),) = self.passes([(member, [row], labels)])
            member.voices.hear([i], nats)
        found = member.voices.update(len(rows))
        member.voices.alone = {k: v for k, v in found.items() if k != "examples"}
        member.optimizer.clear()
        if member.adapter and state is not None:
            member.adapter.generator.set_state(state)
        torch.set_rng_state(drawn)

    def rehearse(self) -> None:
        """Before the first step: the longest batch of every member at once, moments and all. Changes no weight and no draw."""
        for member in self.members:
            member.optimizer.prepare()
        states = [(m.adapter, m.adapter.generator.get_state()) for m in self.members if m.adapter]
        drawn = torch.get_rng_state()
        while True:
            try:
                self.passes([(m, *m.longest_batch()) for m in self.members])
                for member in self.members:
                    member.optimizer.scratch()
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                why = str(error).splitlines()[0]
            self._shrink(self.members, why)
        for member in self.members:
            member.optimizer.clear()
        for adapter, state in states:
            adapter.generator.set_state(state)
        torch.set_rng_state(drawn)

    def _shrink(self, members: Sequence[Member], why: str) -> None:
        for member in members:
            member.restart_step()
        release()
        large = [m for m in members if m.plan.micro_batch > 1]
        if not large:
            raise RunError(
                f"out of memory with one example in a pass ({why[:120]}); shorten max_length, set gradient_checkpointing: "
                "true, or take a smaller model (trimtab forecast shows what each saves)"
            )
        for member in large:
            before = member.plan.micro_batch
            member.halve()
            self.shrunk(
                member,
                f"out of memory: micro-batch {before} -> {member.plan.micro_batch}, "
                f"{member.passes} passes a step; the effective batch stays {member.recipe.effective_batch}",
            )

    def passes(self, work: Sequence[Work]) -> list[Passed]:
        """Forward and backward of each member's rows; losses stay on the device."""
        groups = [list(work)] if self.mode == "fast" else [[one] for one in work]
        members = [m for m, _, _ in work]
        with ExitStack() as stack:
            self._training(members, True, stack)
            if members[0].recipe.gradient_checkpointing:
                stack.enter_context(recomputing(self.base.model, self.base.router, self.base.attention))
            return [result for group in groups for result in self._pass(group)]

    def _pass(self, work: Sequence[Work]) -> list[Passed]:
        length = max(len(t.ids) for _, rows, _ in work for t in rows)
        batches = [self.base.pad(rows, length) for _, rows, _ in work]
        logits = self._logits(
            joined(batches), [_slice(m, rows) for m, rows, _ in work], [r for _, rows, _ in work for r in rows]
        )
        parts = logits.split([len(b.targets) for b in batches])
        nats = [F.cross_entropy(part, b.targets, reduction="none") for part, b in zip(parts, batches, strict=True)]
        losses = [n.sum() / labels for n, (_, _, labels) in zip(nats, work, strict=True)]
        self.base.accelerator.backward(torch.stack(losses).sum())
        tokens = [sum(len(t.ids) for t in rows) for _, rows, _ in work]
        return [
            (loss.detach(), n, part.detach().split(b.labels))
            for loss, n, part, b in zip(losses, tokens, nats, batches, strict=True)
        ]

    def _logits(self, batch: Padded, slices: Sequence[Slice], rows: Sequence[Tokens]) -> torch.Tensor:
        if self.prefix is None:
            return self.base.logits(batch, slices)
        hidden = self.prefix.hidden(rows, batch.ids.shape[1])
        with self.prefix.upper():
            return self.base.logits(batch, slices, inputs_embeds=hidden)

    @torch.no_grad()
    def judge(self, members: Sequence[Member], rows: Sequence[Tokens], batch_size: int = 16) -> list[Judged]:
        """Each member on the same rows: the dense, paired loss that decisions are made on, and how sure and right it was."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        found = [Judged.empty(len(rows)) for _ in members]
        with ExitStack() as stack:
            self._training(members, False, stack)
            for judged, member in zip(found, members, strict=True):
                measure = partial(self._judge, rows, member.adapter)
                for chunk, results in in_batches(order, batch_size, measure, self.base.say):
                    for i, (nats, right, sure) in zip(chunk, results, strict=True):
                        judged.nats[i], judged.right[i], judged.sure[i] = nats, right, sure
        return found

    def _judge(
        self, rows: Sequence[Tokens], adapter: Adapter | None, chunk: Sequence[int]
    ) -> list[tuple[float, float, float]]:
        batch = self.base.pad([rows[i] for i in chunk])
        logits = self._logits(batch, [Slice(adapter, batch.rows, batch.ids.shape[1])], [rows[i] for i in chunk])
        nats = F.cross_entropy(logits, batch.targets, reduction="none")
        best, choice = logits.max(-1)
        # ln p of the first choice = ln p of the truth + how far its logit lies above
        top = best - logits.gather(1, batch.targets[:, None]).squeeze(1) - nats
        parts = zip(*(t.split(batch.labels) for t in (nats, choice == batch.targets, top)), strict=True)
        return [(float(n.mean()), float(r.all()), float(t.mean().exp())) for n, r, t in parts]

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
    return [float(part.mean()) for part in token_losses(base, batch, adapter).split(batch.labels)]


def token_losses(base: Base, batch: Padded, adapter: Adapter | None) -> torch.Tensor:
    """[labels] nats of each label token."""
    slices = [Slice(adapter, batch.rows, batch.ids.shape[1])]
    return F.cross_entropy(base.logits(batch, slices), batch.targets, reduction="none")


def joined(batches: Sequence[Padded]) -> Padded:
    """Batches of one length, stacked."""
    if len(batches) == 1:
        return batches[0]
    starts = [sum(b.ids.numel() for b in batches[:i]) for i in range(len(batches))]
    places = torch.cat([b.places + start for b, start in zip(batches, starts, strict=True)])
    ids, mask, targets = (torch.cat([getattr(b, f) for b in batches]) for f in ("ids", "mask", "targets"))
    return Padded(ids, mask, places, targets, tuple(n for b in batches for n in b.labels))


def _slice(member: Member, rows: Sequence[Tokens]) -> Slice:
    return Slice(member.adapter, len(rows), max(len(t.ids) for t in rows))
