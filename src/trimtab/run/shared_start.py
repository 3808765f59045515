"""One share_start for runs that differ only in length: as long as their rates agree, the longest trains and the
others take its state over.

With lr_scheduler_type constant or warmup_stable_decay (and warm-up in steps) a short run's first steps are a long
one's, bit for bit; with cosine or linear they are not, and nothing is shared. What a follower takes over costs it no
time, and its steps are logged as its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from trimtab.run.member import Member
from trimtab.run.optim import learning_rate
from trimtab.spec.recipe import Recipe

LENGTH = ("num_train_epochs", "max_steps")


def shared_steps(short: Recipe, long: Recipe, examples: int) -> int:
    """How many of the first steps are the same in both."""
    if short.but(**{k: getattr(long, k) for k in LENGTH}) != long:
        return 0
    a, b = short.steps(examples), long.steps(examples)
    same = (k for k in range(min(a, b)) if learning_rate(short, k, a) != learning_rate(long, k, b))
    return next(same, min(a, b))


@dataclass
class _Point:
    """A leader's state after a step."""

    tensors: dict[str, torch.Tensor]
    size: int
    recent: list[float]
    high: int


@dataclass
class _Lead:
    leader: Member
    shared: int
    points: dict[int, _Point] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)


class SharedStart:
    """`shares`: where runs are evaluated, so where a follower must stand."""

    def __init__(self, members: Sequence[Member], shares: Sequence[float], on: bool = True):
        self._leads: dict[Member, _Lead] = {}
        self._shares = shares
        if not on:
            return
        longest = sorted(members, key=lambda m: -m.total_steps)
        for member in members:
            for leader in longest:
                if leader.total_steps <= member.total_steps or leader in self._leads:
                    continue
                shared = shared_steps(member.recipe, leader.recipe, member.examples)
                if shared > 1:
                    self._leads[member] = _Lead(leader, shared)
                    break

    def __len__(self) -> int:
        return len(self._leads)

    def passed(self, leader: Member, numbers: dict[str, Any]) -> None:
        """The leader took a step: kept where a follower will need it."""
        step = leader.state.step
        for follower, lead in self._leads.items():
            if lead.leader is leader and follower.running and step == numbers["step"] <= lead.shared:
                lead.rows[step] = numbers
                if step in self._stations(follower, lead):
                    lead.points[step] = _point(leader)

    def waits(self, member: Member, share: float) -> bool:
        """Whether this member's next steps are somebody else's work."""
        lead = self._leads.get(member)
        if lead is None or not lead.leader.running:
            return False
        here, target, ahead = member.state.step, self._target(member, lead, share), lead.leader.state.step
        recorded = ahead <= here or here + 1 in lead.rows  # rows follow each other without gaps once they begin
        return max(here, ahead) < target and recorded and not member.state.micro

    def catch_up(self, member: Member, share: float) -> list[dict[str, Any]]:
        """Takes over what is ready; gives the rows of the steps that came with it."""
        lead = self._leads.get(member)
        target = self._target(member, lead, share) if lead else 0
        if lead is None or target not in lead.points or target <= member.state.step or member.state.micro:
            return []
        rows = [lead.rows.pop(k, None) for k in range(member.state.step + 1, target + 1)]
        if any(r is None for r in rows):
            return []
        _take_over(member, lead.points.pop(target), target)
        return [{**r, "seconds": member.state.seconds} for r in rows if r is not None]

    def _target(self, member: Member, lead: _Lead, share: float) -> int:
        return min(member.steps_at(share), lead.shared)

    def _stations(self, member: Member, lead: _Lead) -> set[int]:
        return {self._target(member, lead, s) for s in self._shares}


def _point(leader: Member) -> _Point:
    tensors = {k: v.detach().clone() for k, v in leader.tensors().items()}
    return _Point(tensors, leader.state.size, list(leader.guard.recent), leader.guard.high)


def _take_over(member: Member, point: _Point, step: int) -> None:
    p = member.state
    p.step, p.size, p.recent, p.high = step, point.size, list(point.recent), point.high
    member.guard.recent.clear()
    member.load(point.tensors, vars(p).copy())
