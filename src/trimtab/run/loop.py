"""The training loop: one to many runs, on one screen. Takes a cohort and hooks, leaves trained weights and told hooks.

Between two evaluations every running member steps through its own batches; at an evaluation they are measured on the
same items, and whoever the hooks, patience or a guard name is stopped and frees its slice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from trimtab.analysis.stats import average
from trimtab.run.checkpoint import Checkpoints, export
from trimtab.run.cohort import Cohort, Evaluation
from trimtab.run.guards import Stop
from trimtab.run.member import Member
from trimtab.run.shared_start import SharedStart
from trimtab.spec.status import Status


class LoopHooks(Protocol):
    """What the loop tells, and what it asks. `evaluated` answers with the members to stop and why."""

    def restored(self, cohort: Cohort) -> None:
        """Before the first step, after anything that was saved."""

    def stepped(self, member: Member, numbers: dict[str, Any]) -> None:
        """After each optimizer step."""

    def evaluated(self, share: float, raw: dict[Member, Evaluation]) -> dict[Member, Stop]:
        """After each evaluation at this share of the runs; gives who stops, and why."""

    def stopped(self, member: Member) -> None:
        """When a member has ended, however."""


def train(cohort: Cohort, folder: Path, name: str, hooks: LoopHooks, save_every: float = 60.0) -> None:
    """Train `cohort` (called `name` on disk) to its end; members with a checkpoint go on from it, stopped ones too."""
    checkpoints = Checkpoints(folder, name)
    checkpoints.restore(cohort)
    hooks.restored(cohort)
    saved, share_start = cohort.clock(), SharedStart(cohort.members, cohort.shares, cohort.share_start)
    for place, share in enumerate(cohort.shares):
        while members := _due(cohort, share, share_start, hooks):
            began = cohort.clock()
            losses = cohort.forward_backward(members)
            spent, total = cohort.clock() - began, sum(size for _, size in losses)
            for member, (loss, size) in zip(members, losses, strict=True):
                member.state.seconds += spent * size / total
                if member.accumulate(loss, size):
                    numbers = _timed_update(cohort, member)
                    hooks.stepped(member, numbers)
                    share_start.passed(member, numbers)
            if cohort.clock() - saved > save_every:
                checkpoints.save(cohort)
                saved = cohort.clock()
        if due := [m for m in cohort.running if m.state.evaluated <= place]:
            _evaluate(cohort, due, share, folder, hooks)
        _finish(cohort, folder, hooks)
        checkpoints.save(cohort)
        saved = cohort.clock()
    for member in cohort.members:
        if member.state.status == Status.COMPLETE:
            checkpoints.drop_state(member)


def _timed_update(cohort: Cohort, member: Member) -> dict[str, Any]:
    """Of all weights of a small model it takes as long as the passes."""
    began = cohort.clock()
    numbers = member.update()
    member.state.seconds += cohort.clock() - began
    return {**numbers, "seconds": member.state.seconds}


def _due(cohort: Cohort, share: float, share_start: SharedStart, hooks: LoopHooks) -> list[Member]:
    """Members with steps of their own to take before the next evaluation; what others did for them is taken over."""
    for member in cohort.running:
        for numbers in share_start.catch_up(member, share):
            hooks.stepped(member, numbers)
    return [m for m in cohort.running if m.state.step < m.steps_at(share) and not share_start.waits(m, share)]


def _evaluate(cohort: Cohort, members: list[Member], share: float, folder: Path, hooks: LoopHooks) -> None:
    """Paired validation loss of every member; keep the best weights; stop whom the hooks name."""
    judged = dict(zip(members, cohort.evaluate(members, cohort.data.splits["validation"]), strict=True))
    for member, evaluation in judged.items():
        member.state.temperature = evaluation.temperature
        if member.book_evaluation(average(evaluation.losses), score_of(cohort, member, evaluation)):
            export(member, cohort.base, folder / "runs" / member.id / "best")
    for member, stop in hooks.evaluated(share, judged).items():
        if member.running:
            member.stop(stop)
    for member in members:
        if member.running and member.state.step >= member.last_step:
            member.complete()


def score_of(cohort: Cohort, member: Member, evaluation: Evaluation) -> float | None:
    """What decides instead of the loss, the less the better; None where the loss does."""
    metric, items = member.recipe.metric_for_best_model, cohort.data.splits["validation"]
    score = None if metric == "loss" else cohort.base.learning.score(metric, items, evaluation)
    return None if score is None else -score


def _finish(cohort: Cohort, folder: Path, hooks: LoopHooks) -> None:
    """Members that have just come to their end: last weights to disk, word to the hooks."""
    for member in cohort.members:
        if not member.running and not member.state.ended:
            export(member, cohort.base, folder / "runs" / member.id / "last")
            member.state.ended = True
            hooks.stopped(member)
