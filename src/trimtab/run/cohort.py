"""Runs trained together over one frozen base. Takes a model and recipes, gives forward/backward over any of its
members.

Modes: "fast" puts all members' rows into one pass; "certify" passes each member's rows alone, so that its numbers are
bit for bit those of the run alone (CPU, float32). Full fine-tuning is a cohort of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from trimtab.datasets.encoded import Encoded
from trimtab.errors import RunError
from trimtab.run.adapters import Adapter, Slice, attach, find_targets
from trimtab.run.anchor import Anchor, replayed
from trimtab.run.base import Base
from trimtab.run.frozen_prefix import FrozenPrefix
from trimtab.run.guards import Limits
from trimtab.run.kept_states import KeptStates
from trimtab.run.member import Member
from trimtab.run.oom import in_batches, is_out_of_memory, release
from trimtab.run.recompute import recomputing
from trimtab.run.whole_modules import attach_whole, set_parameters
from trimtab.spec.options import Mode
from trimtab.spec.recipe import Recipe, can_share_base


@dataclass(frozen=True)
class Piece:
    """A member's next items, and the `weight` of the whole effective batch that they belong to."""

    member: Member
    items: Sequence[Any]
    weight: int


@dataclass(frozen=True)
class Passed:
    """What a piece gave: its share of the effective batch's loss, its size, and each row's losses unit by unit.
    Losses are on the device."""

    loss: torch.Tensor
    size: int
    rows: Sequence[torch.Tensor]


@dataclass(frozen=True)
class Evaluation:
    """By item: the mean loss of its units; whether the model's first choice is right, 1 or 0; how sure it was of it,
    0 to 1; which label that is. `temperature`: what logits were divided by for it (recipe.temperature_scaling)."""

    losses: list[float]
    right: list[float]
    sure: list[float]
    choice: list[int]
    temperature: float = 1.0

    @classmethod
    def empty(cls, rows: int) -> Evaluation:
        """Room for so many items."""
        return cls([0.0] * rows, [0.0] * rows, [0.0] * rows, [0] * rows)


class Cohort:
    """Members that train over one frozen base, or one that trains it whole."""

    def __init__(
        self,
        base: Base,
        recipes: Sequence[Recipe],
        data: Encoded,
        mode: Mode = "fast",
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
        shares_every: int = 0,
        share_start: bool = True,
        kept: KeptStates | None = None,
        own: Sequence[Any] = (),
    ):
        """`own`: the base's own answers as items, where a recipe is anchored in them (run/anchor.py). `kept`: train
        what is above alone, on these states. `share_start`: runs that differ only in length share the steps
        that are the same. `shares_every` N: every Nth update is also taken example by example, to tell their
        gradients apart; 0: never. RunError where the recipes cannot share a base."""
        if any(not can_share_base(recipes[0], r) for r in recipes[1:]):
            raise RunError(
                "these recipes cannot share one frozen base (they differ in task, model, data, max_length, bf16 or "
                "eval_steps, or fine-tune all weights); run them as cohorts of one"
            )
        self.base, self.data, self.mode, self.clock, self.shares_every = base, data, mode, clock, shares_every
        self.share_start, self.kept, self.own = share_start, kept, own
        self.shrunk: Callable[[Member, str], None] = lambda _member, _text: None  # told of a smaller micro-batch
        self.anchor = Anchor(base, own) if own and any(r.pull for r in recipes) else None  # before anything moves
        self.members = [self._member(r, limits) for r in recipes]
        self.shares = recipes[0].evaluations()

    def _member(self, recipe: Recipe, limits: Limits) -> Member:
        base, learning = self.base, self.base.learning
        adapter, fresh = None, learning.fresh(base, recipe)
        if recipe.whole_model:
            base.model.requires_grad_(True)
            base.head_dropout = recipe.classifier_dropout
            set_parameters(base.model, fresh)
            # The whole random state belongs to the one member: dropout of the model, if it has any.
            torch.manual_seed(recipe.seed)
        else:
            targets = self._targets(recipe)
            attach(base.model, targets, base.router)
            attach_whole(base.model, fresh, base.router, base.ends)
            how = (recipe.r, recipe.lora_alpha, recipe.lora_dropout, recipe.seed, str(base.device))
            adapter = Adapter(targets, *how, fresh, recipe.classifier_dropout)
        groups = learning.groups(base, adapter, recipe)
        if adapter is None and recipe.frozen_layers:
            base.model.requires_grad_(False)
            for p in (p for group in groups for p in group.parameters):
                p.requires_grad_(True)
        given = self.data.splits["train"]
        train = [*given, *replayed(self.own, recipe, len(given))]
        return Member(recipe, train, groups, adapter, limits, self.clock, learning, len(given))

    def _targets(self, recipe: Recipe) -> dict[str, torch.nn.Linear]:
        """The layers that get an adapter; none where a head alone learns."""
        if recipe.head_alone:
            return {}
        targets = find_targets(self.base.model, recipe.target_modules, self.base.outside, recipe.layers_to_transform)
        if isinstance(self.kept, FrozenPrefix):
            return {n: m for n, m in targets.items() if self.kept.is_upper(n)}
        return targets

    @property
    def running(self) -> list[Member]:
        """Members that have not ended."""
        return [m for m in self.members if m.running]

    @property
    def begun(self) -> bool:
        """Whether any has taken a step or a part of one: it goes on with what it had, gradients too."""
        return any(m.state.step or m.state.micro for m in self.members)

    def forward_backward(self, members: Sequence[Member]) -> list[tuple[float, int]]:
        """One micro-batch of each member: its share of the effective batch's loss (mean over units) and its size.

        Where memory runs out the members halve their micro-batches, begin the step again and say so. RunError where
        one example is too much.
        """
        for member in members:
            if self.shares_every and not member.state.micro and member.state.step % self.shares_every == 0:
                self._tell_apart(member)
        passed = self._with_less_memory(lambda: self.passes([Piece(m, *m.micro_batch()) for m in members]), members)
        for member, one in zip(members, passed, strict=True):
            member.record(one.rows)
        self.hold([m for m in members if m.recipe.pull and m.at_last_pass])
        return [(float(one.loss), one.size) for one in passed]

    def hold(self, members: Sequence[Member]) -> None:
        """After the last pass of a step, so that no example is charged with what the anchor pulls."""
        if not members or self.anchor is None:
            return
        together = [list(members)] if self.mode == "fast" else [[m] for m in members]
        with ExitStack() as stack:
            self._training(members, True, stack)
            for some in together:
                self.anchor.pull(some)

    def _tell_apart(self, member: Member) -> None:
        """The coming update, one example a pass: whose gradients they are. Changes no weight and no draw; takes as
        long as a step and more."""
        items = [(i, member.item(i)) for i in member.plan.examples(member.state.step)]
        if len(items) < 2:
            return
        weight = sum(item.weight for _, item in items)
        with _undisturbed([member]):
            for i, item in items:
                (one,) = self.passes([Piece(member, [item], weight)])
                member.gradient_shares.record([i], one.rows)
            numbers = member.gradient_shares.update(len(items))
            member.gradient_shares.alone = {k: v for k, v in numbers.items() if k != "examples"}
            member.optimizer.clear()

    def rehearse(self) -> None:
        """Before the first step: the longest batch of every member at once, moments and all. Changes no weight and
        no draw."""
        for member in self.members:
            member.optimizer.prepare()

        def longest() -> None:
            self.passes([Piece(m, *m.longest_batch()) for m in self.members])
            self.hold([m for m in self.members if m.recipe.pull])
            for member in self.members:
                member.optimizer.scratch()

        with _undisturbed(self.members):
            self._with_less_memory(longest, self.members)
            for member in self.members:
                member.optimizer.clear()

    def _with_less_memory(self, work: Callable[[], Any], members: Sequence[Member]) -> Any:
        """`work`, with smaller micro-batches as long as memory runs out in it."""
        while True:
            try:
                return work()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                why = str(error).splitlines()[0]
            self._shrink(members, why)  # outside: the failed pass hangs on its traceback

    def _shrink(self, members: Sequence[Member], why: str) -> None:
        for member in members:
            member.restart_step()
        release()
        large = [m for m in members if m.plan.micro_batch > 1]
        if not large:
            raise RunError(
                f"out of memory with one example in a pass ({why[:120]}); shorten max_length, set"
                " gradient_checkpointing: true, or take a smaller model (trimtab forecast shows what each saves)"
            )
        for member in large:
            before = member.plan.micro_batch
            member.halve()
            self.shrunk(
                member,
                f"out of memory: micro-batch {before} -> {member.plan.micro_batch}, "
                f"{member.passes} passes a step; the effective batch stays {member.recipe.effective_batch}",
            )

    def passes(self, pieces: Sequence[Piece]) -> list[Passed]:
        """Forward and backward of each member's items; losses stay on the device."""
        together = [list(pieces)] if self.mode == "fast" else [[one] for one in pieces]
        members = [p.member for p in pieces]
        with ExitStack() as stack:
            self._training(members, True, stack)
            if members[0].recipe.gradient_checkpointing:
                stack.enter_context(recomputing(self.base.model, self.base.router, self.base.kernels))
            return [passed for group in together for passed in self._pass(group)]

    def _pass(self, pieces: Sequence[Piece]) -> list[Passed]:
        items = [item for p in pieces for item in p.items]
        batch = self.base.learning.collate(self.base, items)
        outputs = self._outputs(batch, [_slice(p.member, p.items) for p in pieces], items)
        units = self.base.learning.unit_losses(outputs, batch)
        rows = units.split(batch.weights)
        counts = [sum(item.weight for item in p.items) for p in pieces]
        losses = [part.sum() / p.weight for part, p in zip(units.split(counts), pieces, strict=True)]
        self.base.accelerator.backward(torch.stack(losses).sum())
        of_row = iter([row.detach() for row in rows])
        return [
            Passed(loss.detach(), sum(item.size for item in p.items), [next(of_row) for _ in p.items])
            for loss, p in zip(losses, pieces, strict=True)
        ]

    def _outputs(self, batch: Any, slices: Sequence[Slice], items: Sequence[Any]) -> torch.Tensor:
        if self.kept is None:
            return self.base.learning.outputs(self.base, batch, slices)
        return self.kept.outputs(batch, slices, items)

    @torch.no_grad()
    def evaluate(self, members: Sequence[Member], items: Sequence[Any], batch_size: int = 16) -> list[Evaluation]:
        """Each member on the same items: the dense, paired loss that decisions are made on, and how sure and right
        it was."""
        order = sorted(range(len(items)), key=lambda i: items[i].size)
        evaluations = []
        with ExitStack() as stack:
            self._training(members, False, stack)
            for member in members:
                made, logs = Evaluation.empty(len(items)), dict[int, torch.Tensor]()
                measure = partial(self._evaluate, items, member, logs)
                for chunk, rows in in_batches(order, batch_size, measure, self.base.say):
                    for i, (loss, right, sure, choice) in zip(chunk, rows, strict=True):
                        made.losses[i], made.right[i], made.sure[i], made.choice[i] = loss, right, sure, choice
                if logs:
                    made = self.base.learning.tempered(items, made, [logs[i] for i in range(len(items))])
                evaluations.append(made)
        return evaluations

    def _evaluate(
        self, items: Sequence[Any], member: Member, logs: dict[int, torch.Tensor], chunk: Sequence[int]
    ) -> list[tuple[float, float, float, int]]:
        """`logs` takes each item's outputs where a temperature is fitted to them."""
        some, learning = [items[i] for i in chunk], self.base.learning
        batch = learning.collate(self.base, some)
        outputs = self._outputs(batch, [Slice(member.adapter, batch.rows, batch.length)], some)
        if member.recipe.temperature_scaling and self.base.ends:
            logs.update(zip(chunk, learning.remember(outputs).cpu(), strict=True))
        units = learning.unit_losses(outputs, batch)
        certain = learning.certainty(outputs, batch, units)
        return [(float(u.mean()), *c) for u, c in zip(units.split(batch.weights), certain, strict=True)]

    def _training(self, members: Sequence[Member], on: bool, stack: ExitStack) -> None:
        """Dropout on or off; the frozen base of a LoRA cohort always stays in evaluation mode."""
        for m in members:
            if m.adapter:
                stack.callback(setattr, m.adapter, "training", m.adapter.training)
                m.adapter.training = on
            else:
                stack.callback(self.base.train, self.base.model.training)
                self.base.train(on)


@contextmanager
def _undisturbed(members: Sequence[Member]) -> Iterator[None]:
    """Whatever is drawn inside, every generator is afterwards where it was."""
    own = [(m.adapter, m.adapter.generator.get_state()) for m in members if m.adapter]
    drawn = torch.get_rng_state()
    yield
    for adapter, state in own:
        adapter.generator.set_state(state)
    torch.set_rng_state(drawn)


def _slice(member: Member, items: Sequence[Any]) -> Slice:
    return Slice(member.adapter, len(items), max(i.size for i in items))
