"""The worker: turns recipes into trained, measured runs and writes all of it into the store. The Lab that tests do not fake.

Keeps one model in memory between cohorts. Everything it learns goes through the store, so a killed process loses
nothing that was written and the next one continues from the last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from trimtab.analysis.card import breach, drift_of, left_budget
from trimtab.analysis.stats import average
from trimtab.behaviour.interview import Level
from trimtab.data.duplicates import near_duplicates
from trimtab.data.prepare import Tokenised, percentile, tokenise_dataset
from trimtab.data.tokens import tokenise
from trimtab.errors import DataError, ModelError, RunError, TrimtabError
from trimtab.forecasting.source import locate
from trimtab.forecasting.verbs import asker
from trimtab.plan.catalogue import Card
from trimtab.plan.facts import Facts
from trimtab.plan.fitting import Ask
from trimtab.run import models
from trimtab.run.cohort import Cohort, Judged, Mode
from trimtab.run.guards import Limits, Stop
from trimtab.run.loop import train
from trimtab.run.machine import Machine
from trimtab.run.material import Material
from trimtab.run.member import Member
from trimtab.spec.budget import Budget
from trimtab.spec.probe import Probe
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.store import Store
from trimtab.tune.booking import TOGETHER, cohorts, give_up, heed, is_due, outcome, together
from trimtab.tune.choice import Outcome
from trimtab.tune.examiner import Examiner
from trimtab.tune.expectation import Expectation
from trimtab.tune.race import Race
from trimtab.tune.screen import losses
from trimtab.tune.shelf import Shelf

STOP_EVERY = 2.0  # seconds between two looks for a request to stop


class Watcher(Protocol):
    """Whoever shows progress."""

    def cohort(self, recipes: Sequence[Recipe], steps: Mapping[str, int]) -> None: ...
    def step(self, run: str, numbers: Mapping[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def done(self) -> None: ...


class Worker:
    def __init__(
        self,
        store: Store,
        material: Material,
        machine: Machine,
        watcher: Watcher,
        budget: Budget | None = None,
        study: str | None = None,
        mode: Mode = "fast",
        limits: Limits = Limits(),
        save_every: float = 60.0,
        method: str = "lora",
        bf16: bool | None = None,
        own: Sequence[Probe] = (),
        listen_every: int = 0,
        most: int = TOGETHER,
        trunk: bool = True,
    ):
        """`method` and `bf16` say how the untouched base is measured: as the runs will train it; `own` are a person's probes."""
        self.store, self.material, self.machine, self.watcher = store, material, machine, watcher
        self.model, self.dataset = material.model, material.dataset
        self.budget = budget or Budget()  # no limits
        self.study, self.mode, self.limits, self.save_every = study, mode, limits, save_every
        torch.set_num_threads(machine.threads)
        self.expectation = Expectation(store, machine, watcher.note)
        self.shelf = Shelf(self.model, machine, watcher.note, method, bf16)
        self.tokenizer = self.shelf.tokenizer
        self._tokenised: dict[int, Tokenised] = {}
        self._own, self.listen_every, self.most, self.trunk = own, listen_every, most, trunk

    @cached_property
    def examiner(self) -> Examiner:
        positions = self.architecture["positions"]
        return Examiner(
            self.store, self.shelf, self.dataset, positions, self.budget, self.study, self.watcher.note, self._own
        )

    # what the coach asks

    @cached_property
    def architecture(self) -> dict[str, Any]:
        """What config.json says; no weights are read."""
        return models.facts(self.model, self.watcher.note)

    def facts(self) -> Facts:
        found = self.architecture
        train = self.dataset.examples["train"]
        tokens = tokenise(train, self.tokenizer, 2**31)
        lengths = sorted(len(t.ids) for t in tokens)
        name = Path(models.resolve(self.model, self.watcher.note)).name
        return Facts(
            model=self.model, model_name=name, family=found["family"], parameters=found["parameters"],
            hidden_size=found["hidden_size"], positions=found["positions"], data=self.material.data, examples=len(tokens),
            tokens=sum(lengths), label_tokens=sum(t.labels for t in tokens), length_95=percentile(lengths, 95), length_99=percentile(lengths, 99),
            length_max=lengths[-1], labels_longest=max(t.labels for t in sorted(tokens, key=lambda t: len(t.ids))[-max(1, len(tokens) // 100) :]), device=self.machine.device, memory_gb=self.machine.memory_gb, bf16=self.machine.bf16,
            has_template=bool(self.tokenizer.chat_template), fingerprint=self.material.fingerprint,
            duplicates=1 - len(near_duplicates([e.text for e in train])) / len(train),
        )  # fmt: skip

    def ask(self) -> Ask | None:
        card = Card(self.machine.name, int(self.machine.memory_gb * 1e9))
        source = locate(self.model, self.watcher.note)
        return asker(card, instant=True, out=self.store.folder) if source.known else None

    def describe_data(self, max_length: int) -> dict[str, Any]:
        return self._tokens(max_length).table

    def measure_base(self) -> dict[str, Any]:
        return self.examiner.measure_base()

    def seconds_per_token(self, recipe: Recipe) -> float:
        """The quickest of three micro-batches: a busy moment must not shrink the whole study."""
        self.watcher.note("Timing a few micro-batches")
        cohort = Cohort(self.shelf.base(recipe), [recipe], self._tokens(recipe.max_length))
        cohort.forward_backward(cohort.members)  # memory and kernels
        found = []
        for _ in range(3):
            began = time.monotonic()
            ((_, tokens),) = cohort.forward_backward(cohort.members)
            found.append((time.monotonic() - began) / tokens)
        return min(found)

    def train(self, recipes: Sequence[Recipe], race: Race | None = None, reopen: bool = False) -> list[Outcome]:
        rows = [self.store.add_run(r, self.study) for r in recipes]
        due = [r for r in rows if is_due(self.store, r, self.budget, reopen)]
        for row in due:
            self.store.go_on(row.id)
        failed: dict[str, TrimtabError] = {}
        for name, group in cohorts(due, self.most).items():
            failed |= self._train_or_say(name, group, race and race.beside(due, [r.run_id for r in group]))
        heed(self.store, self.study)
        if failed and len(failed) == len(due):
            raise next(iter(failed.values()))
        return [outcome(self.store, self.store.run(r.run_id), self.budget) for r in recipes]

    def _train_or_say(self, name: str, group: Sequence[Recipe], race: Race | None) -> dict[str, TrimtabError]:
        """One run's error is no reason to lose the others: a cohort that fails is trained one by one. The errors by run."""
        heed(self.store, self.study)
        try:
            self.train_cohort(name, group, race)
            return {}
        except (DataError, ModelError, RunError) as error:
            if len(group) == 1:
                run = group[0].run_id
                give_up(self.store, self.study, [run], str(error))
                self.watcher.note(f"{run} failed: {error}")
                return {run: error}
        ones = cohorts([replace(self.store.run(r.run_id), cohort=None) for r in group], 1)
        return {k: v for name, one in ones.items() for k, v in self._train_or_say(name, one, race).items()}

    def screen(self, recipes: Sequence[Recipe]) -> list[float]:
        """By cohorts of what can train together. Full fine-tuning has no frozen layers: nothing is known of it (0 for each)."""
        found: dict[str, float] = {}
        for group in together([r for r in recipes if r.method != "full"], self.most):
            looked = losses(self.shelf.base(group[0]), group, self._tokens(group[0].max_length))
            found |= {r.run_id: v for r, v in zip(group, looked, strict=True)}
        return [found.get(r.run_id, 0.0) for r in recipes]

    def untouched(self, recipe: Recipe) -> list[float]:
        """By a run that has taken no step: its adapter adds nothing yet."""
        tokens = self._tokens(recipe.max_length)
        cohort = Cohort(self.shelf.base(recipe), [recipe], tokens)
        (judged,) = cohort.judge(cohort.members, tokens.tokens["validation"])
        return judged.nats

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        return self.examiner.measure_task(recipes)

    def card(self, recipe: Recipe, level: Level = "card") -> dict[str, Any]:
        return self.examiner.card(recipe, level)

    # training

    def train_cohort(self, name: str, recipes: Sequence[Recipe], race: Race | None) -> None:
        data, base = self._tokens(recipes[0].max_length), self.shelf.base(recipes[0])
        self.examiner.ref(recipes[0])  # before full fine-tuning moves the base
        cohort = Cohort(base, recipes, data, self.mode, self.limits, listen_every=self.listen_every, trunk=self.trunk)
        for m in cohort.members:
            self.store.forget_measurements(m.id)  # of an earlier, shorter stretch of the run
            self.store.update_run(
                m.id, status=Status.RUNNING, reason=None, cohort=name, total_steps=m.total_steps, result={"cause": None}
            )
        cohort.shrunk = self._shrunk
        self.watcher.cohort(recipes, {m.id: m.total_steps for m in cohort.members})
        train(cohort, self.store.folder, name, _Hooks(self, cohort, race), self.save_every)
        for m in cohort.members:  # also those that had ended when an earlier process was killed
            _book(self.store, m)
        if recipes[0].method == "full":
            self.shelf.moved()
        self.watcher.done()

    def _shrunk(self, member: Member, text: str) -> None:
        self.watcher.note(f"{member.id}: {text}")
        self.store.log_event("memory", text, study=self.study, run=member.id, step=member.progress.step)

    def _tokens(self, max_length: int) -> Tokenised:
        if max_length not in self._tokenised:
            self._tokenised[max_length] = tokenise_dataset(self.dataset, self.tokenizer, max_length)
        return self._tokenised[max_length]


class _Hooks:
    """What one cohort's loop tells goes into the store and to the watcher; what it asks is judged here."""

    def __init__(self, worker: Worker, cohort: Cohort, race: Race | None):
        self.worker, self.cohort, self.race = worker, cohort, race
        self._asked_at, self._asked = time.monotonic(), dict[str, str]()

    def restored(self, cohort: Cohort) -> None:
        self.worker.expectation.rehearse(cohort, models.resolve(self.worker.model, self.worker.watcher.note))

    def stepped(self, member: Member, numbers: dict[str, Any]) -> None:
        self.worker.store.log_steps([{"run": member.id, **numbers}])
        self.worker.watcher.step(member.id, numbers)
        self.worker.expectation.stepped(member)
        if time.monotonic() - self._asked_at > STOP_EVERY:
            self._asked_at = time.monotonic()
            self._asked = self.worker.store.stops_asked([m.id for m in self.cohort.running])
        if member.running and member.id in self._asked:  # itself alone: the others are in the middle of their step
            member.stop(Stop(Cause.ASKED, self._asked[member.id]))

    def evaluated(self, share: float, found: dict[Member, Judged]) -> dict[Member, Stop]:
        stops: dict[Member, Stop] = {}
        inside: dict[str, Member] = {}
        for member, judged in found.items():
            measured = self.worker.examiner.pulse_of(member) | {"right": judged.right, "sure": judged.sure}
            loss = average(judged.nats)
            self.worker.store.log_evaluation(
                run=member.id, step=member.progress.step, share=share, loss=loss, items=judged.nats, pulse=measured
            )
            self.worker.watcher.step(member.id, {"evaluation": loss, "kl": drift_of(measured)})
            if not breach(measured, self.worker.budget):
                inside[member.id] = member
            elif why := left_budget(
                [e["pulse"] for e in self.worker.store.evaluations(member.id)[-2:]], self.worker.budget
            ):
                stops[member] = Stop(Cause.BUDGET, why)
        if self.race and inside:
            # Whoever is outside the budget just now may not stop those inside it.
            running = {run: found[m].nats for run, m in inside.items()}
            for run, why in self.race.losers(self.worker.store, share, running).items():
                stops[inside[run]] = Stop(Cause.RACE, why)
        asked = self.worker.store.stops_asked([m.id for m in found])
        return stops | {m: Stop(Cause.ASKED, asked[m.id]) for m in found if m.id in asked}

    def stopped(self, member: Member) -> None:
        _book(self.worker.store, member)
        self.worker.expectation.ended(member)
        if member.progress.reason:
            self.worker.store.log_event(
                "stopped", member.progress.reason, study=self.worker.study, run=member.id, step=member.progress.step
            )
            self.worker.watcher.note(f"{member.id} ends at step {member.progress.step}: {member.progress.reason}")


def _book(store: Store, member: Member) -> None:
    """The run's row, as the loop left it."""
    p = member.progress
    keys = ("best_loss", "best_step", "tokens", "seconds", "step", "cause")
    store.update_run(member.id, status=p.status, reason=p.reason, result={k: asdict(p)[k] for k in keys})
