"""The worker: turns recipes into trained, measured runs and writes all of it into the store. The Lab that tests do not fake.

Keeps one model in memory between cohorts. Everything it learns goes through the store, so a killed process loses
nothing that was written and the next one continues from the last checkpoint.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from trimtab.analysis.card import breach, judge
from trimtab.behaviour import card as cards
from trimtab.behaviour.drift import Reference, pulse, reference
from trimtab.behaviour.probes import looks_chinese
from trimtab.behaviour.subject import Answer, Subject
from trimtab.data.assets import cache_folder
from trimtab.data.prepare import Dataset, Tokenised, load, percentile, tokenise_dataset
from trimtab.data.tokens import tokenise
from trimtab.errors import RunError
from trimtab.plan.facts import Facts
from trimtab.run import models
from trimtab.run.checkpoint import load_adapter
from trimtab.run.cohort import Base, Cohort, Mode
from trimtab.run.guards import Limits
from trimtab.run.loop import train
from trimtab.run.machine import Machine
from trimtab.run.member import Member
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe, can_share_base
from trimtab.spec.status import Status
from trimtab.store import RunRow, Store
from trimtab.tune.choice import Outcome
from trimtab.tune.lab import StopRule


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
        model: str,
        data: str,
        machine: Machine,
        watcher: Watcher,
        budget: Budget | None = None,
        study: str | None = None,
        mode: Mode = "fast",
        limits: Limits = Limits(),
        save_every: float = 60.0,
        method: str = "lora",
        bf16: bool | None = None,
    ):
        """`method` and `bf16` say how the untouched base is measured: as the runs will train it."""
        self.method, self.bf16 = method, bf16
        self.store, self.model, self.data, self.machine, self.watcher = store, model, data, machine, watcher
        self.budget, self.study, self.mode, self.limits, self.save_every = budget, study, mode, limits, save_every
        torch.set_num_threads(machine.threads)
        self.tokenizer = models.load_tokenizer(model, watcher.note)
        self.dataset: Dataset = load(data, say=watcher.note)
        self._tokenised: dict[int, Tokenised] = {}
        self._base: tuple[tuple[Any, ...], Base] | None = None
        self._references: dict[tuple[bool, bool], Reference] = {}

    # what the coach asks

    def facts(self) -> Facts:
        found = models.facts(self.model, self.watcher.note)
        tokens = tokenise(self.dataset.examples["train"], self.tokenizer, 2**31)
        lengths = sorted(len(t.ids) for t in tokens)
        name = Path(models.resolve(self.model, self.watcher.note)).name
        return Facts(
            model=self.model, model_name=name, family=found["family"], parameters=found["parameters"],
            hidden_size=found["hidden_size"], positions=found["positions"], data=self.data, examples=len(tokens),
            tokens=sum(lengths), label_tokens=sum(t.labels for t in tokens), length_99=percentile(lengths, 99),
            length_max=lengths[-1], device=self.machine.device, memory_gb=self.machine.memory_gb, bf16=self.machine.bf16,
            has_template=bool(self.tokenizer.chat_template),
        )  # fmt: skip

    def describe_data(self, max_length: int) -> dict[str, Any]:
        return self._tokens(max_length).table

    def measure_base(self) -> dict[str, Any]:
        """The untouched model's answers and numbers on the task; its own answers to the generic prompts on the side."""
        base = Subject(self._load())
        self._ref(None)
        task, began = self._task(), time.monotonic()
        said = cards.ask_task([base], task)[0]
        seconds = time.monotonic() - began
        return {
            "metric": task.metric,
            "numbers": cards.task_numbers(said, task),
            "answers": [a.text for a in said],
            "seconds": seconds,
        }

    def seconds_per_token(self, recipe: Recipe) -> float:
        """The quickest of three micro-batches: a busy moment must not shrink the whole study."""
        cohort = Cohort(self._load(recipe), [recipe], self._tokens(recipe.max_length))
        cohort.forward_backward(cohort.members)  # memory and kernels
        found = []
        for _ in range(3):
            began = time.monotonic()
            ((_, tokens),) = cohort.forward_backward(cohort.members)
            found.append((time.monotonic() - began) / tokens)
        return min(found)

    def train(self, recipes: Sequence[Recipe], stop: StopRule | None = None, reopen: bool = False) -> list[Outcome]:
        rows = [self.store.add_run(r, self.study) for r in recipes]
        due = [r for r in rows if not r.status.is_finished() or (reopen and r.status == Status.STOPPED)]
        for group in _cohorts([r.recipe for r in due]):
            self._train_cohort(group, stop, reopen)
        return [outcome(self.store, self.store.run(r.run_id)) for r in recipes]

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        missing = [r for r in recipes if "task" not in self.store.run(r.run_id).result]
        task = self._task()
        for group in self._groups(missing):
            answered = cards.ask_task([self._tuned(r) for r in group], task)
            for recipe, said in zip(group, answered, strict=True):
                result = {"task": cards.task_numbers(said, task), "answers": [a.text for a in said]}
                self.store.update_run(recipe.run_id, result=result)
        return {r.run_id: self.store.run(r.run_id).result["task"] for r in recipes}

    def card(self, recipe: Recipe, base_task: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Measure (or look up) and judge; the answers side by side become samples."""
        if (stored := self.store.card(recipe.run_id)) is not None:
            return judge(stored["measured"], self.budget or Budget())
        base_task = (
            base_task or (self.store.study(self.study).facts.get("base") if self.study else None) or self.measure_base()
        )
        task_numbers = self.measure_task([recipe])[recipe.run_id]
        ref = self._ref(recipe)
        numbers, said = cards.generic_numbers(Subject(self._load(recipe)), self._tuned(recipe), ref)
        measured = {**numbers, **task_numbers, **{f"base_{k}": v for k, v in base_task["numbers"].items()}}
        judged = judge(measured, self.budget or Budget())
        self.store.save_samples(recipe.run_id, self._samples(recipe, base_task["answers"], ref, said))
        self.store.save_card(recipe.run_id, measured, judged)  # last: a card that is there is whole
        return judged

    # training

    def _train_cohort(self, recipes: list[Recipe], stop: StopRule | None, reopen: bool) -> None:
        data, base = self._tokens(recipes[0].max_length), self._load(recipes[0])
        self._ref(recipes[0])  # before full fine-tuning moves the base
        # A reopened cohort has a name of its own: its members' states lie under the tags of the cohorts they were stopped in.
        names = [r.run_id for r in recipes] + ["reopened"] * reopen
        name = hashlib.sha256(" ".join(names).encode()).hexdigest()[:10]
        cohort = Cohort(base, recipes, data, self.mode, self.limits)
        for m in cohort.members:
            self.store.forget_measurements(m.id)  # of an earlier, shorter stretch of the run
            self.store.update_run(m.id, status=Status.RUNNING, reason=None, cohort=name, total_steps=m.total_steps)
        self.watcher.cohort(recipes, {m.id: m.total_steps for m in cohort.members})
        train(cohort, self.store.folder, name, _Hooks(self, cohort, stop), self.save_every, reopen)
        for m in cohort.members:  # also those that had ended when an earlier process was killed
            _book(self.store, m)
        if recipes[0].method == "full":
            self._base = None
        self.watcher.done()

    def pulse_of(self, member: Member) -> dict[str, list[float]]:
        return pulse(Subject(self._load(member.recipe), member.adapter), self._ref(member.recipe))

    # models, kept between calls

    def _key(self, recipe: Recipe | None) -> tuple[bool, bool]:
        """(all weights, bfloat16): what must be equal for two runs to be measured on the same base."""
        method, bf16 = (recipe.method, recipe.bf16) if recipe else (self.method, self.bf16)
        return method == "full", self.machine.bf16 if bf16 is None else bf16

    def _load(self, recipe: Recipe | None = None) -> Base:
        """The base that a recipe trains on; full fine-tuning wants float32 weights of its own."""
        key = self._key(recipe)
        if self._base is None or self._base[0] != key:
            self._base = None  # two models at a time may not fit
            self._base = (key, self._fresh(self.model, key))
        return self._base[1]

    def _fresh(self, model: str, key: tuple[bool, bool]) -> Base:
        full, bf16 = key
        accelerator = Accelerator(cpu=self.machine.device == "cpu", mixed_precision="bf16" if full and bf16 else "no")
        dtype = torch.bfloat16 if bf16 and not full else torch.float32
        loaded = models.load_model(model, dtype, str(accelerator.device), self.watcher.note)
        return Base(loaded, self.tokenizer, accelerator)

    def _tuned(self, recipe: Recipe) -> Subject:
        best = self.store.folder / "runs" / recipe.run_id / "best"
        if not best.exists():
            raise RunError(f"run {recipe.run_id} has no saved weights in {best}")
        if recipe.method == "full":
            return Subject(self._fresh(str(best), self._key(recipe)))
        base = self._load(recipe)
        return Subject(base, load_adapter(best, base))

    def _groups(self, recipes: Sequence[Recipe]) -> list[list[Recipe]]:
        """Runs on one base together, full fine-tunes one by one."""
        lora = [r for r in recipes if r.method == "lora"]
        return [[r] for r in recipes if r.method == "full"] + ([lora] if lora else [])

    def _ref(self, recipe: Recipe | None) -> Reference:
        """What the base of this recipe says; asked before anything can have moved it."""
        key = self._key(recipe)
        if key not in self._references:
            self.watcher.note("Asking the base model the generic prompts")
            chinese = looks_chinese(" ".join(e.text for e in self.dataset.examples["train"][:50]))
            base = Subject(self._load(recipe))
            self._references[key] = reference(base, cache_folder() / "reference", "zh" if chinese else "en")
        return self._references[key]

    def _tokens(self, max_length: int) -> Tokenised:
        if max_length not in self._tokenised:
            self._tokenised[max_length] = tokenise_dataset(self.dataset, self.tokenizer, max_length)
        return self._tokenised[max_length]

    def _task(self) -> cards.Task:
        return cards.task_of(self.dataset.examples["test"], self.dataset.is_json, self.tokenizer)

    def _samples(
        self, recipe: Recipe, base_answers: Sequence[str], ref: Reference, generic: Sequence[Answer]
    ) -> list[dict[str, Any]]:
        tuned = self.store.run(recipe.run_id).result["answers"]
        task = [
            {"probe": "task", "prompt": e.messages[-2]["content"], "reference": e.answer, "base": b, "tuned": t}
            for e, b, t in zip(self._task().examples, base_answers, tuned, strict=True)
        ]
        return task + [
            {"probe": "generic", "prompt": p, "reference": None, "base": b.text, "tuned": t.text}
            for p, b, t in zip(ref.prompts, ref.answers, generic, strict=True)
        ]


class _Hooks:
    """What one cohort's loop tells goes into the store and to the watcher; what it asks is judged here."""

    def __init__(self, worker: Worker, cohort: Cohort, stop: StopRule | None):
        self.worker, self.cohort, self.stop = worker, cohort, stop

    def stepped(self, member: Member, numbers: dict[str, Any]) -> None:
        self.worker.store.log_steps([{"run": member.id, **numbers}])
        self.worker.watcher.step(member.id, numbers)

    def evaluated(self, share: float, items: dict[Member, list[float]]) -> dict[Member, str]:
        stops: dict[Member, str] = {}
        for member, values in items.items():
            measured = self.worker.pulse_of(member)
            loss = sum(values) / len(values)
            self.worker.store.log_evaluation(
                run=member.id, step=member.progress.step, share=share, loss=loss, items=values, pulse=measured
            )
            self.worker.watcher.step(member.id, {"evaluation": loss, "kl": _mean(measured.get("kl_generic"))})
            why = breach(measured, self.worker.budget) if self.worker.budget and measured else None
            member.progress.breaches = member.progress.breaches + 1 if why else 0
            if why and member.progress.breaches >= 2:
                stops[member] = f"budget breached at two evaluations in a row: {why}"
        if self.stop:
            # Whoever is outside the budget just now may not stop those inside it.
            alive = {m.id: v for m, v in items.items() if m.progress.breaches == 0}
            for run, why in (self.stop(share, alive) if alive else {}).items():
                stops[next(m for m in items if m.id == run)] = why
        return stops

    def stopped(self, member: Member) -> None:
        _book(self.worker.store, member)
        if member.progress.reason:
            self.worker.store.log_event(
                "stopped", member.progress.reason, study=self.worker.study, run=member.id, step=member.progress.step
            )
            self.worker.watcher.note(f"{member.id} ends at step {member.progress.step}: {member.progress.reason}")


def _book(store: Store, member: Member) -> None:
    """The run's row, as the loop left it; a dead run without one good evaluation has FAILED."""
    p = member.progress
    status = Status.FAILED if p.status == Status.STOPPED and p.best_loss is None else p.status
    keys = ("best_loss", "best_step", "tokens", "seconds", "step")
    store.update_run(member.id, status=status, reason=p.reason, result={k: asdict(p)[k] for k in keys})


def outcome(store: Store, run: RunRow) -> Outcome:
    """A stored run as the chooser sees it: its best evaluation."""
    evaluations = store.evaluations(run.id)
    best = min(evaluations, key=lambda e: e["loss"], default=None)
    kl = _mean(best["pulse"].get("kl_generic")) if best else None
    broke = run.reason if run.reason and (run.reason.startswith("budget") or run.status == Status.FAILED) else None
    loss, items = (best["loss"], tuple(best["items"])) if best else (float("inf"), ())
    history = {e["share"]: tuple(e["items"]) for e in evaluations}
    return Outcome(run.recipe, run.status, loss, items, kl, broke, history)


def _cohorts(recipes: Sequence[Recipe]) -> list[list[Recipe]]:
    """Compatible LoRA runs together, everything else alone."""
    groups: list[list[Recipe]] = []
    for recipe in recipes:
        home = next((g for g in groups if can_share_base(g[0], recipe)), None)
        home.append(recipe) if home else groups.append([recipe])
    return groups


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
