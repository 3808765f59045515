"""One run inside a cohort: its weights, optimizer, batches and position. Takes a recipe, gives what the loop steps.

A run alone is a cohort of one; nothing here knows about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from trimtab.errors import SpecError
from trimtab.run.adapters import Adapter
from trimtab.run.batches import BatchPlan
from trimtab.run.gradient_shares import GradientShares
from trimtab.run.guards import Guard, Limits, Stop
from trimtab.run.optim import Optimizer
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.tasks.task import Group, Learning


@dataclass
class MemberState:
    """Every scalar a resume needs; plain JSON values."""

    step: int = 0  # optimizer steps done
    micro: int = 0  # micro-batches of the next step already accumulated
    loss: float = 0.0  # accumulated loss of the next step
    size: int = 0  # of all items passed, in the task's own unit (tokens, masked ones included)
    seconds: float = 0.0
    evaluated: int = 0  # evaluations done
    temperature: float = 1.0  # of the last one: what is saved has its logits divided by it
    best_loss: float | None = None  # at the evaluation that is kept
    best_score: float | None = None  # what it was kept for: its loss, or (negative) the metric
    best_step: int = 0
    bad_evaluations: int = 0
    status: Status = Status.RUNNING
    reason: str | None = None
    cause: Cause | None = None
    ended: bool = False  # last weights saved and the hooks told
    micro_batch: int = 0  # examples in one pass where memory was too small for the recipe's; 0: the recipe's
    recent: list[float] = field(default_factory=list)  # the guard's rolling window
    high: int = 0

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> MemberState:
        """As it was saved, by this version or an earlier one."""
        state = cls(**{OLD_NAMES.get(k, k): v for k, v in saved.items()})
        if state.best_score is None:  # of a version that knew the loss alone
            state.best_score = state.best_loss
        state.status, state.cause = Status(state.status), state.cause and Cause(state.cause)
        return state


OLD_NAMES = {"tokens": "size"}


class Member:
    """`train`: items as the seam has them, the first `examples` of them a person's own. `adapter` is None for full
    fine-tuning, where the groups hold the model's own parameters."""

    def __init__(
        self,
        recipe: Recipe,
        train: Sequence[Any],
        groups: Sequence[Group],
        adapter: Adapter | None,
        limits: Limits,
        clock: Callable[[], float],
        learning: Learning,
        examples: int,
    ):
        self.recipe, self.adapter, self.train, self.examples = recipe, adapter, train, examples
        self._varied = learning.varied
        self.total_steps, self.last_step = recipe.steps(examples), recipe.steps_taken(examples)
        if problem := recipe.stop_problem(self.total_steps):
            raise SpecError(f"run {recipe.run_id}", [problem])
        self.plan = BatchPlan(
            tuple(i.size for i in train), recipe.effective_batch, recipe.per_device_train_batch_size, recipe.seed
        )
        self.optimizer = Optimizer(recipe, groups, self.total_steps)
        self.gradient_shares = GradientShares(self.optimizer, groups[0].parameters, learning.known_below)
        self.guard = Guard(
            self.total_steps, limits, clock, size_word=learning.words.size, diverged_above=learning.diverged_above
        )
        self.state = MemberState()

    @property
    def id(self) -> str:
        """Its run's."""
        return self.recipe.run_id

    @property
    def running(self) -> bool:
        return self.state.status == Status.RUNNING

    @property
    def passes(self) -> int:
        """Micro-batches in one step."""
        return -(-self.plan.effective_batch // self.plan.micro_batch)

    @property
    def at_last_pass(self) -> bool:
        """Whether the micro-batch that is under way completes the effective batch."""
        return self.state.micro + 1 == len(self.plan.micro_batches(self.state.step))

    def steps_at(self, share: float) -> int:
        """Optimizer steps after which `share` of the schedule is done, or the run; at least one."""
        return min(self.last_step, max(1, round(share * self.total_steps)))

    def micro_batch(self) -> tuple[list[Any], int]:
        """The next micro-batch and the weight of the whole effective batch that it belongs to."""
        pieces = self.plan.micro_batches(self.state.step)
        weight = sum(self.train[i].weight for piece in pieces for i in piece)
        return [self.item(i) for i in pieces[self.state.micro]], weight

    def item(self, i: int) -> Any:
        """A training example as the step under way sees it: the same when it is taken again."""
        return self._varied(self.train[i], self.recipe, f"{self.state.step}/{i}", self.train)

    def longest_batch(self) -> tuple[list[Any], int]:
        """The micro-batch that takes most memory, and its weight."""
        items = sorted(self.train, key=lambda i: -i.size)[: self.plan.micro_batch]
        return items, sum(i.weight for i in items)

    def halve(self) -> None:
        """Half the examples in a pass and so twice the passes; the step that was begun begins again."""
        self.state.micro_batch = max(1, self.plan.micro_batch // 2)
        self.plan = replace(self.plan, micro_batch=self.state.micro_batch)

    def restart_step(self) -> None:
        """Gradients and draws of the step are forgotten; it begins again."""
        p = self.state
        done = self.plan.micro_batches(p.step)[: p.micro] if p.micro else []
        p.size -= sum(self.train[i].size for piece in done for i in piece)
        p.micro, p.loss = 0, 0.0
        self.gradient_shares.forget()
        self.optimizer.clear()

    def record(self, rows: Sequence[torch.Tensor]) -> None:
        """After the backward of its next micro-batch: each row's losses, unit by unit."""
        p = self.state
        self.gradient_shares.record(self.plan.micro_batches(p.step)[p.micro], rows)

    def accumulate(self, loss: float, size: int) -> bool:
        """Book one micro-batch; True when the effective batch is complete."""
        self.state.loss += loss
        self.state.size += size
        self.state.micro += 1
        return self.state.micro == len(self.plan.micro_batches(self.state.step))

    def update(self) -> dict[str, Any]:
        """One optimizer step, or a stop with a reason and the weights left as they were. Gives the step's numbers."""
        p = self.state
        self.optimizer.rest(p.step)
        loss, norm = p.loss, self.optimizer.grad_norm()
        stop = self.guard.before_update(p.step + 1, loss, norm, p.size)
        passes, p.micro, p.loss = p.micro, 0, 0.0
        shares = self.gradient_shares.update(passes)
        rate = None
        if stop is None:
            self.gradient_shares.weigh(p.step)
            rate = self.optimizer.step(p.step, norm)
            shares["moved"] = self.gradient_shares.moved()
            p.step += 1
        else:
            self.stop(stop)
        return {
            "gradient_shares": shares,
            "step": p.step + (stop is not None),
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": rate,
            "size": p.size,
        }

    def stop(self, stop: Stop) -> None:
        """End before the last step: STOPPED, FAILED where not one good evaluation is left to show, or (patience)
        complete."""
        p = self.state
        p.cause, p.reason = stop
        dead = p.cause == Cause.GUARD and p.best_loss is None
        p.status = Status.FAILED if dead else Status.COMPLETE if p.cause == Cause.PATIENCE else Status.STOPPED
        self.optimizer.clear()

    def complete(self) -> None:
        self.state.status = Status.COMPLETE
        self.optimizer.clear()

    def go_on(self) -> None:
        """A stopped run that was asked for again."""
        p = self.state
        if p.status == Status.STOPPED:
            p.status = Status.RUNNING if p.step < self.last_step else Status.COMPLETE
            p.reason, p.cause, p.ended = None, None, False

    def book_evaluation(self, loss: float, score: float | None = None) -> bool:
        """Book an evaluation; True when it is the best so far: by `score`, the less the better, else by its loss.
        Patience that runs out completes the run."""
        p = self.state
        p.evaluated += 1
        score = loss if score is None else score
        if p.best_score is None or score < p.best_score:
            p.best_loss, p.best_score, p.best_step, p.bad_evaluations = loss, score, p.step, 0
            return True
        p.bad_evaluations += 1
        patience = self.recipe.early_stopping_patience
        if self.running and patience and p.bad_evaluations >= patience:
            why = f"early stopping: no gain for {patience} evaluations; best at step {p.best_step}"
            self.stop(Stop(Cause.PATIENCE, why))
        return False

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights, moments, unfinished gradients and random state."""
        state = self.optimizer.tensors()
        if self.state.micro:
            state |= {f"gradient.{i}": f.grad for i, f in enumerate(self.optimizer.flats)}
        state["random"] = self.random_state()
        return state

    def random_state(self) -> torch.Tensor:
        """Of the generator that dropout draws from: its length says on which kind of device."""
        return self.adapter.generator.get_state() if self.adapter else torch.get_rng_state()

    def load(self, tensors: dict[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        self.state = MemberState.of(state)
        if self.state.micro_batch:
            self.plan = replace(self.plan, micro_batch=self.state.micro_batch)
        random = tensors.pop("random").cpu()
        self.adapter.generator.set_state(random) if self.adapter else torch.set_rng_state(random)
        gradients = [tensors.pop(f"gradient.{i}", None) for i in range(len(self.optimizer.flats))]
        self.optimizer.load(tensors)
        for flat, gradient in zip(self.optimizer.flats, gradients, strict=True):
            if gradient is not None:
                flat.grad.copy_(gradient)
        self.guard.recent.extend(self.state.recent)
        self.guard.high = self.state.high
