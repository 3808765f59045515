"""What a cohort is expected to take, and what it really took: forecast, rehearsal of the longest batch, speed. Into
the store.

A forecast that cannot be made is no reason not to train: it is left out, and the store says nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trimtab.errors import TrimtabError
from trimtab.forecasting import calibrate
from trimtab.forecasting.cache import versions
from trimtab.forecasting.duration import kind_of
from trimtab.forecasting.forecast import forecast
from trimtab.forecasting.measure import peak_of
from trimtab.forecasting.result import KEPT_STATES
from trimtab.planning.catalogue import Device
from trimtab.run.cohort import Cohort
from trimtab.run.machine import Machine
from trimtab.run.member import Member
from trimtab.spec.durations import in_words
from trimtab.spec.progress import Say
from trimtab.spec.workload import Workload
from trimtab.store import Store

FIRST_STEPS = 5  # after which a run's own speed is better than any forecast


class Expectation:
    """What a cohort is expected to take and takes, into the store."""

    def __init__(self, store: Store, machine: Machine, note: Say):
        self.store, self.machine, self.note = store, machine, note
        self.members: list[Member] = []  # of the cohort that trains now

    def rehearse(self, cohort: Cohort, model: str, predict: bool) -> None:
        """Forecast, where the task can be, then the longest batch, both into the store. A cohort that goes on keeps
        what it had, gradients too."""
        self.members = list(cohort.members)
        if cohort.begun:
            return
        device = Device(self.machine.name, self.machine.memory)
        for member, predicted in zip(cohort.members, self._predicted(cohort, model, device, predict), strict=True):
            self.store.save_forecast(member.id, predicted)
        for m in cohort.members:
            m.optimizer.prepare()
        took = peak_of(cohort.rehearse, _resident(cohort), self.machine.device)
        shrunk = any(m.state.micro_batch for m in cohort.members)
        for m in cohort.members:
            numbers = {"allocated": took.allocated, "reserved": took.reserved}
            self.store.measured(m.id, **({} if shrunk else numbers), micro_batch=m.plan.micro_batch)

    def _predicted(self, cohort: Cohort, model: str, device: Device, predict: bool) -> list[dict[str, Any]]:
        unknown = [{"device": self.machine.device, "versions": versions()} for _ in cohort.members]
        if not predict:
            return unknown
        w = workload_of(cohort, model, self.machine)
        known = calibrate.known(w.device, self.store.forecasts())
        try:
            made = forecast(w, device, known=known)
        except TrimtabError as refused:
            self.note(f"No forecast of this run's memory: {refused}")
            return unknown
        size = w.size * w.members * w.gradient_accumulation_steps
        each = (made.flops or 0) / size
        kept = made.memory.terms.get(KEPT_STATES, 0)  # the rehearsal keeps those of the longest batch alone
        achieved = known.get("achieved", {}).get(kind_of(w))
        return [
            {
                "device": w.device, "versions": made.versions, "how": made.how, "kind": kind_of(w),
                "allocated": made.memory.allocated - kept,
                "reserved": made.memory.reserved - kept if w.device == "cuda" else None,
                "terms": made.memory.terms, "card": device.name, "capacity": device.memory,
                "context": made.memory.context,
                "workload": made.workload, "flops_per_size": each,
                "seconds": each * _size_a_step(m) / achieved if achieved else None,
            }
            for m in cohort.members
        ]  # fmt: skip

    def stepped(self, member: Member) -> None:
        """After everybody's first steps: how long the rest of the cohort will take, from the runs themselves. Each
        run's seconds are its share of what all of them took."""
        states = [m.state for m in self.members]
        last = member.state.step == FIRST_STEPS and min((s.step for s in states), default=0) >= FIRST_STEPS
        if last and max(m.last_step for m in self.members) >= 4 * FIRST_STEPS:
            left = sum(m.state.seconds / m.state.step * (m.last_step - m.state.step) for m in self.members)
            each = sum(s.seconds / s.step for s in states)
            runs = f"{len(states)} runs" if len(states) > 1 else member.id
            self.note(
                f"{runs}: {each:.2g} s a step{' of all' if len(states) > 1 else ''}, about {in_words(left)} of training"
                " left, evaluations apart"
            )

    def ended(self, member: Member) -> None:
        """The speed of the whole run, and on a card its highest memory."""
        p = member.state
        if not p.step:
            return
        numbers: dict[str, Any] = {"seconds": p.seconds / p.step, "size_per_second": p.size / max(p.seconds, 1e-9)}
        if self.machine.device == "cuda":
            numbers |= {"run_reserved": torch.cuda.max_memory_reserved()}
        self.store.measured(member.id, **numbers)


def workload_of(cohort: Cohort, model: str, machine: Machine) -> Workload:
    """The longest batches of the cohort's members at once, as the rehearsal passes them."""
    first = cohort.members[0]
    rows = [t for m in cohort.members for t in m.longest_batch()[0]]
    lengths = [t.size for t in rows]
    bf16 = machine.in_bf16(first.recipe.bf16)
    return Workload.of_recipe(
        first.recipe.but(max_length=max(8, max(lengths))), bf16, len(cohort.members), device=machine.device,
        labels=max(1.0, sum(t.weight for t in rows) / len(rows)), padded=len(set(lengths)) > 1,
        examples=len(first.train),
    ).but(model=model, per_device_train_batch_size=max(m.plan.micro_batch for m in cohort.members),
          r=max(m.recipe.r for m in cohort.members))  # fmt: skip


def _size_a_step(member: Member) -> float:
    return sum(t.size for t in member.train) / len(member.train) * member.recipe.effective_batch


def _resident(cohort: Cohort) -> Sequence[torch.Tensor]:
    """What is there before the rehearsal: base, vectors, gradients, moments."""
    flats = [f for m in cohort.members for f in m.optimizer.flats]
    moments = [v for m in cohort.members for s in m.optimizer.inner.state.values() for v in s.values()]
    model = cohort.base.model
    vectors = [t for f in flats for t in (f.vector.data, f.grad)]
    return [*model.parameters(), *model.buffers(), *vectors, *moments]
