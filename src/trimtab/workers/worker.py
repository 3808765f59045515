"""The worker: turns recipes into trained, measured runs and writes all of it into the store. What tests fake is its
seam to deciding.

Keeps one model in memory between cohorts. Everything it learns goes through the store, so a killed process loses
nothing that was written and the next one continues from the last checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch

from trimtab.analysis.card import breach, drift_of, left_budget
from trimtab.analysis.stats import average
from trimtab.datasets.encoded import Encoded
from trimtab.errors import DataError, ModelError, RunError, SpecError, TrimtabError
from trimtab.forecasting.forecaster import forecaster
from trimtab.forecasting.source import locate
from trimtab.planning.catalogue import Device
from trimtab.planning.facts import Facts
from trimtab.planning.fitting import Forecaster
from trimtab.run.cohort import Cohort, Evaluation
from trimtab.run.frozen_prefix import first_trained, prefix_of
from trimtab.run.guards import Stop
from trimtab.run.kept_states import KeptStates, body_of
from trimtab.run.layer_rates import by_layer
from trimtab.run.loop import score_of, train
from trimtab.run.machine import Machine, flops
from trimtab.run.material import Material
from trimtab.run.member import Member
from trimtab.spec.progress import Progress
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Level, Status
from trimtab.store import Store
from trimtab.tasks.task import Meter
from trimtab.tuning.choice import Outcome
from trimtab.tuning.race import Race
from trimtab.tuning.run_state import cohorts, give_up, is_due, outcome, raise_if_stopped, together
from trimtab.workers import scaled
from trimtab.workers.expectation import Expectation
from trimtab.workers.model_cache import ModelCache
from trimtab.workers.proxy_screen import losses
from trimtab.workers.specs import WorkerSpec
from trimtab.workers.threads import set_threads

STOP_EVERY = 2.0  # seconds between two looks for a request to stop


class Worker:
    """`study` is whom its runs are trained for; None: nobody but the person who asked."""

    def __init__(
        self,
        store: Store,
        material: Material,
        machine: Machine,
        watcher: Progress,
        spec: WorkerSpec = WorkerSpec(),
        study: str | None = None,
    ):
        self.store, self.material, self.machine, self.watcher, self.spec = store, material, machine, watcher, spec
        self.model, self.dataset, self.task, self.budget, self.study = (
            material.model, material.dataset, material.task, spec.budget, study
        )  # fmt: skip
        torch.set_num_threads(machine.threads)
        self.expectation = Expectation(store, machine, watcher.note)
        self.models = ModelCache(self.task, self.model, machine, watcher.note, spec.method, spec.bf16, self.dataset)
        self._encoded: dict[int, Encoded] = {}
        self._states: dict[tuple[Any, ...], KeptStates | None] = {}  # of one cut: states take memory

    @cached_property
    def meter(self) -> Meter:
        return self.task.meter(
            self.store, self.models, self.dataset, self.budget, self.study, self.watcher.note, self.spec.own
        )

    def unguarded(self) -> Worker:
        """The same, with the same models in memory, but nobody is stopped for leaving the budget: a remedy that is
        outside half-way may be inside at its end."""
        other = copy(self)
        other.spec = self.spec.model_copy(update={"guard": False})
        return other

    # what a study asks

    def facts(self) -> Facts:
        return self.task.facts(
            self.model, self.material.data, self.dataset, self.models.processor, self.machine,
            self.material.fingerprint, self.watcher.note,
        )  # fmt: skip

    def forecaster(self) -> Forecaster | None:
        if not self.task.forecast:
            return None
        source = locate(self.model, self.watcher.note)
        device = Device(self.machine.name, self.machine.memory)
        return forecaster(device, instant=True, out=self.store.folder) if source.known else None

    def describe_data(self, recipe: Recipe) -> dict[str, Any]:
        return self.encoded(recipe).table

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Of validation and test, each item's group; only where some items are near copies of others."""
        sides = {s: self.material.dataset.examples.get(s, []) for s in ("validation", "test")}
        made = {side: self.task.near_copies(examples) for side, examples in sides.items()}
        return {side: groups for side, groups in made.items() if len(set(groups)) < len(groups)}

    def table_lines(self, table: dict[str, Any]) -> list[str]:
        return self.task.table_lines(table)

    def seconds_per_size(self, recipe: Recipe) -> float:
        """The quickest of three micro-batches: a busy moment must not shrink the whole study."""
        self.watcher.note("Timing a few micro-batches")
        data, own = self.encoded(recipe), self.own_answers([recipe])
        cohort = Cohort(self.models.base(recipe), [recipe], data, kept=self._kept([recipe], data, own), own=own)
        cohort.forward_backward(cohort.members)  # memory and kernels
        optimizer, paces, updates = cohort.members[0].optimizer, [], []
        optimizer.prepare()
        for _ in range(3):
            began = time.monotonic()
            ((_, size),) = cohort.forward_backward(cohort.members)
            passed = time.monotonic()
            optimizer.idle_step()
            paces.append((passed - began) / size)
            updates.append((time.monotonic() - passed) / size)
        return min(paces) + min(updates) / recipe.gradient_accumulation_steps

    def flops(self) -> float:
        return flops(self.machine)

    def train(self, recipes: Sequence[Recipe], race: Race | None = None, reopen: bool = False) -> list[Outcome]:
        rows = [self.store.add_run(r, self.study) for r in recipes]
        due = [r for r in rows if is_due(self.store, r, self.spec.stopping, reopen)]
        for row in due:
            self.store.go_on(row.id)
        failed: dict[str, TrimtabError] = {}
        for name, group in cohorts(due, self.spec.together).items():
            failed |= self._train_or_say(name, group, race and race.beside(due, [r.run_id for r in group]))
        raise_if_stopped(self.store, self.study)
        if failed and len(failed) == len(due):
            raise next(iter(failed.values()))
        return [outcome(self.store, self.store.run(r.run_id), self.budget) for r in recipes]

    def _train_or_say(self, name: str, group: Sequence[Recipe], race: Race | None) -> dict[str, TrimtabError]:
        """One run's error is no reason to lose the others: a cohort that fails is trained one by one. The errors by
        run."""
        raise_if_stopped(self.store, self.study)
        try:
            self.train_cohort(name, group, race)
            return {}
        except (DataError, ModelError, RunError, SpecError) as error:
            if len(group) == 1:
                run = group[0].run_id
                give_up(self.store, self.study, [run], str(error))
                self.watcher.note(f"{run} failed: {error}")
                return {run: error}
        ones = cohorts([replace(self.store.run(r.run_id), cohort=None) for r in group], 1)
        return {k: v for name, one in ones.items() for k, v in self._train_or_say(name, one, race).items()}

    def screen(self, recipes: Sequence[Recipe]) -> list[float]:
        """By cohorts of what can train together. Full fine-tuning has no frozen layers: nothing is known of it (0
        for each)."""
        looked: dict[str, float] = {}
        for group in together([r for r in recipes if r.method != "full"], self.spec.together):
            values = losses(self.models.base(group[0]), group, self.encoded(group[0]))
            looked |= {r.run_id: v for r, v in zip(group, values, strict=True)}
        return [looked.get(r.run_id, 0.0) for r in recipes]

    def untouched(self, recipe: Recipe) -> list[float]:
        """By a run that has taken no step: its adapter adds nothing yet."""
        encoded = self.encoded(recipe)
        cohort = Cohort(self.models.base(recipe), [recipe], encoded)
        (evaluation,) = cohort.evaluate(cohort.members, encoded.splits["validation"])
        return evaluation.losses

    def measure_base(self, recipe: Recipe) -> dict[str, Any]:
        return self.meter.measure_base(recipe)

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        return self.meter.measure_task(recipes)

    def side(self, recipe: Recipe) -> dict[str, list[float]]:
        return self.meter.side(recipe)

    def card(
        self, recipe: Recipe, level: Level = "card", whole: bool = False, seconds: float = math.inf
    ) -> dict[str, Any]:
        return self.meter.card(recipe, level, whole=whole, seconds=seconds)

    # training

    def train_cohort(self, name: str, recipes: Sequence[Recipe], race: Race | None) -> None:
        """Trains what can be trained together and writes all of it into the store. Of recipes that hand over a share
        of an adapter the whole runs are trained."""
        if due := scaled.wholes(recipes, self.store, self.study):
            self._train_whole(name, due, race)
        for recipe in recipes:
            if recipe.whole != recipe:
                self._hand_over(recipe)

    def _hand_over(self, recipe: Recipe) -> None:
        self.store.forget_measurements(recipe.run_id)
        base = self.models.base(recipe)
        best = scaled.hand_over(recipe, base, self.store)
        self.meter.prepare(recipe)
        # what is handed over carries its temperature already
        cohort = Cohort(base, [recipe.but(temperature_scaling=False)], self.encoded(recipe))
        member, evaluation = scaled.evaluated(best, base, cohort)
        scaled.book(recipe, evaluation, self.meter.pulse(member), self.store)
        if self.groups:
            self.store.update_run(recipe.run_id, result={"groups": self.groups})
        self.watcher.note(f"{recipe.run_id} is {recipe.adapter_scale:g} of {recipe.whole.run_id}; nothing was trained")

    def _train_whole(self, name: str, recipes: Sequence[Recipe], race: Race | None) -> None:
        data, base = self.encoded(recipes[0]), self.models.base(recipes[0])
        self.meter.prepare(recipes[0])
        spec, own = self.spec, self.own_answers(recipes)
        cohort = Cohort(
            base, recipes, data, spec.mode, spec.limits, shares_every=spec.shares_every, share_start=spec.share_start,
            kept=self._kept(recipes, data, own), own=own,
        )  # fmt: skip
        for m in cohort.members:
            self.store.forget_measurements(m.id)  # of an earlier, shorter stretch of the run
            self.store.update_run(
                m.id, status=Status.RUNNING, reason=None, cohort=name, total_steps=m.total_steps, result={"cause": None}
            )
            if self.groups:
                self.store.update_run(m.id, result={"groups": self.groups})
            if m.recipe.layered:
                trained = m.adapter.named_parameters() if m.adapter else base.model.named_parameters()
                self.store.update_run(m.id, result={"layers": by_layer(trained, getattr(base, "head", ()), m.recipe)})
        cohort.shrunk = self._shrunk
        self.watcher.cohort(recipes, {m.id: m.last_step for m in cohort.members})
        train(cohort, self.store.folder, name, _IntoStore(self, cohort, race), spec.save_every)
        for m in cohort.members:  # also those that had ended when an earlier process was killed
            _book(self.store, m)
        if recipes[0].whole_model:
            self.models.moved()
        self.watcher.done()

    def _shrunk(self, member: Member, text: str) -> None:
        self.watcher.note(f"{member.id}: {text}")
        self.store.log_event("memory", text, study=self.study, run=member.id, step=member.state.step)

    def _kept(self, recipes: Sequence[Recipe], data: Encoded, own: Sequence[Any]) -> KeptStates | None:
        """What none of these trains makes of the data; kept for the cohorts that come."""
        head_alone = recipes[0].head_alone
        first = None if head_alone else first_trained(recipes)
        if first == 0:
            return None
        key = (*self.models.key(recipes[0]), recipes[0].max_length, first)
        if key not in self._states:
            keep = body_of if head_alone else prefix_of
            splits = (data.splits["train"], data.splits["validation"])
            self._states = {key: keep(self.models.base(recipes[0]), recipes, *splits)}
        states = self._states[key]
        if states:
            states.expect(own)
        return states

    def own_answers(self, recipes: Sequence[Recipe]) -> list[Any]:
        """What these are held to, where any of them is; asked of the untouched base."""
        held = next((r for r in recipes if r.anchored), None)
        return self.task.own_answers(self.models.base(held), self.dataset, held, self.watcher.note) if held else []

    def encoded(self, recipe: Recipe) -> Encoded:
        """The data as this recipe's model takes them."""
        if recipe.max_length not in self._encoded:
            self._encoded[recipe.max_length] = self.task.encode(self.dataset, self.models.processor, recipe)
        return self._encoded[recipe.max_length]


class _IntoStore:
    """LoopHooks: what one cohort's loop tells goes into the store and to the watcher; what it asks is judged here."""

    def __init__(self, worker: Worker, cohort: Cohort, race: Race | None):
        self.worker, self.cohort, self.race = worker, cohort, race
        self._asked_at, self._asked = time.monotonic(), dict[str, str]()

    def restored(self, cohort: Cohort) -> None:
        here = self.worker.machine
        if self.worker.spec.adapts and here.device == "cpu":
            set_threads(cohort, here.cores, self.worker.store, self.worker.watcher.note)
        self.worker.expectation.rehearse(cohort, self.worker.model, self.worker.task.forecast)

    def stepped(self, member: Member, numbers: dict[str, Any]) -> None:
        self.worker.store.log_steps([{"run": member.id, **numbers}])
        self.worker.watcher.step(member.id, numbers)
        self.worker.expectation.stepped(member)
        if time.monotonic() - self._asked_at > STOP_EVERY:
            self._asked_at = time.monotonic()
            self._asked = self.worker.store.stops_asked([m.id for m in self.cohort.running])
        if member.running and member.id in self._asked:  # itself alone: the others are in the middle of their step
            member.stop(Stop(Cause.ASKED, self._asked[member.id]))

    def evaluated(self, share: float, evaluations: dict[Member, Evaluation]) -> dict[Member, Stop]:
        store, budget = self.worker.store, self.worker.spec.stopping
        stops: dict[Member, Stop] = {}
        inside: dict[str, Member] = {}
        for member, evaluation in evaluations.items():
            pulse = self._log(member, share, evaluation)
            if not breach(pulse, budget):
                inside[member.id] = member
            elif why := left_budget([e["pulse"] for e in store.evaluations(member.id)[-2:]], budget):
                stops[member] = Stop(Cause.BUDGET, why)
        if self.race and inside:
            # Whoever is outside the budget just now may not stop those inside it.
            running = {run: evaluations[m].losses for run, m in inside.items()}
            for run, why in self.race.losers(store, share, running).items():
                stops[inside[run]] = Stop(Cause.RACE, why)
        asked = store.stops_asked([m.id for m in evaluations])
        return stops | {m: Stop(Cause.ASKED, asked[m.id]) for m in evaluations if m.id in asked}

    def _log(self, member: Member, share: float, evaluation: Evaluation) -> dict[str, list[float]]:
        """The evaluation into the store, with its pulse, which it gives."""
        pulse = self.worker.meter.pulse(member) | {"right": evaluation.right, "sure": evaluation.sure}
        if (score := score_of(self.cohort, member, evaluation)) is not None:
            pulse["score"] = [score]
        if evaluation.temperature != 1:
            pulse["temperature"] = [evaluation.temperature]
        loss = average(evaluation.losses)
        self.worker.store.log_evaluation(
            run=member.id, step=member.state.step, share=share, loss=loss, items=evaluation.losses, pulse=pulse
        )
        drift = drift_of(pulse, self.worker.task.words)
        self.worker.watcher.step(member.id, {"evaluation": loss, "drift": drift})
        return pulse

    def stopped(self, member: Member) -> None:
        _book(self.worker.store, member)
        self.worker.expectation.ended(member)
        if member.state.reason:
            self.worker.store.log_event(
                "stopped", member.state.reason, study=self.worker.study, run=member.id, step=member.state.step
            )
            self.worker.watcher.note(f"{member.id} ends at step {member.state.step}: {member.state.reason}")


def _book(store: Store, member: Member) -> None:
    """The run's row, as the loop left it."""
    s = member.state
    keys = ("best_loss", "best_step", "size", "seconds", "step", "cause")
    store.update_run(member.id, status=s.status, reason=s.reason, result={k: asdict(s)[k] for k in keys})
