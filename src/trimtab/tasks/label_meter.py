"""The examiner of classifiers: measures what runs did to the labels. Takes trained runs, gives task numbers, pulses and
judged cards, all kept in the store.

The base is the frozen encoder's best linear head (behaviour/frozen_probe.py): a run has gained what it gets right
beyond that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from torch import nn

from trimtab.analysis.card import judge
from trimtab.behaviour.floor import SCALES
from trimtab.behaviour.frozen_probe import FrozenProbe, Read, probe_of, read
from trimtab.behaviour.kept import KEEP
from trimtab.behaviour.label_task import REPHRASED, STATES, LabelTask, Predictions, compare, moved
from trimtab.behaviour.pair_responses import pick
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.label_items import labels_in
from trimtab.errors import SpecError
from trimtab.run.adapters import Adapter
from trimtab.run.member import Member
from trimtab.spec.budget import Budget
from trimtab.spec.probe import Probe
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.tasks.classifier_base import ClassifierBase
from trimtab.tasks.task import Models, Say

PULSED = 64  # validation items of a pulse
Key = tuple[bool, bool, int]  # how a base is loaded, and how what it is asked is cut or sized


class Measured(Protocol):
    """What is asked of a task whose runs are measured here."""

    def measured(self, examples: Sequence[Any], processor: Any, labels: Sequence[str], recipe: Recipe) -> list[Any]:
        """Items as runs of this recipe are measured on."""

    def measured_at(self, recipe: Recipe) -> int:
        """Recipes for which it is equal are measured on equal items."""

    def versions(self, example: Any, language: str) -> list[Any]:
        """Five examples that mean the same."""

    def shown(self, example: Any) -> str:
        """What a person would recognise it by."""

    def spoken(self, dataset: Any, say: Say) -> str:
        """The language that versions are made in."""


class LabelMeter:
    """`task` makes the items that are measured; `models` are the loaded ones, see workers/model_cache.py."""

    def __init__(
        self,
        task: Measured,
        store: Store,
        models: Models,
        dataset: Any,
        budget: Budget,
        study: str | None,
        say: Say,
        own: Sequence[Probe] = (),
    ):
        self.task, self.store, self.models, self.dataset = task, store, models, dataset
        self.budget, self.study, self.say = budget, study, say
        if own:
            raise SpecError("--probes", ["ask for answers in words, which a classifier does not give; leave them out"])
        self._states: dict[Key, list[list[float]]] = {}  # of the untouched base
        self._probes: dict[Key, FrozenProbe] = {}
        self._items: dict[tuple[str, int], list[Any]] = {}

    def prepare(self, recipe: Recipe) -> None:
        """Full fine-tuning moves the base: its states are read first."""
        key = self._key(recipe)
        if key not in self._states:
            self._states[key] = read(self.models.base(recipe), None, self._pulsed(recipe)).states

    def lacks(self) -> dict[str, str]:
        return {"gradient shares": "gradient shares are taken by trimtab train --gradient-shares 20"}

    def measure_base(self, recipe: Recipe) -> dict[str, Any]:
        """The frozen probe on the held-out examples."""
        test = self._test(recipe)
        self.say(f"Asking the base model {len(test)} held-out examples")
        self._probe(recipe)  # fitted once, which is none of an answer's time
        began = time.monotonic()
        seen = self._of_base(recipe, test)
        seconds = time.monotonic() - began
        card = seconds * (1 + 5 * REPHRASED / max(1, len(test)))
        return {
            "metric": "accuracy",
            "numbers": _numbers(seen, test),
            "answers": self._named(seen),
            "answer_seconds": seconds,
            "card_seconds": {"short": 2 * card, "card": 2 * card},
            "first_seconds": {"short": 2 * card, "card": 2 * card},
        }

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        """Asked once per run; kept with it."""
        for recipe in [r for r in recipes if "task" not in self.store.run(r.run_id).result]:
            seen = read(*self._tuned(recipe), self._test(recipe))
            told = {"task": _numbers(seen, self._test(recipe)), "answers": self._named(seen)}
            self.store.update_run(recipe.run_id, result=told)
        return {r.run_id: self.store.run(r.run_id).result["task"] for r in recipes}

    def pulse(self, member: Member) -> dict[str, list[float]]:
        """How far the states of some validation examples have moved."""
        recipe = member.recipe
        now = read(self.models.base(recipe), member.adapter, self._pulsed(recipe)).states
        return {"representation_drift": moved(self._states[self._key(recipe)], now)}

    def card(
        self,
        recipe: Recipe,
        level: str = "card",
        language: str | None = None,
        prompts: int = 0,
        whole: bool = False,
        seconds: float = math.inf,
    ) -> dict[str, Any]:
        """Every number of a classifier's card is taken each time: they are cheap."""
        stored = self.store.card(recipe.run_id)
        if stored:
            return judge(stored["measured"], self.budget)
        began = time.monotonic()
        task = self._label_task(language or self.spoken)
        before, after = self._predictions(recipe, task, None), self._predictions(recipe, task, self._tuned(recipe))
        raw = compare(before, after, task)
        fewest = min(task.truth.count(i) for i in range(len(task.labels)))
        measured = {
            "raw": raw,
            "missing": {"label_worst_class": f"a label has {fewest} held-out examples: at least 2 are needed"}
            if fewest < 2
            else {},
            "seconds": {"labels": time.monotonic() - began},
            "level": level,
            "language": task.language,
            "classifier": True,
        }
        judged = judge(measured, self.budget)
        self.store.save_samples(recipe.run_id, self._samples(recipe))
        self.store.save_card(recipe.run_id, measured, judged)  # last: a card that is there is whole
        return judged

    def side(self, recipe: Recipe) -> dict[str, list[float]]:
        return {}

    def scales(self, recipe: Recipe) -> list[dict[str, Any]]:
        base, adapter = self._tuned(recipe)
        assert adapter is not None, "only an adapter can be scaled without a second model"
        self.prepare(recipe)
        update, whole, states = adapter.scale, dict(adapter.whole), self._states[self._key(recipe)]
        test, made = self._test(recipe), []
        for share in SCALES:
            self.say(f"Measuring {share:g} of the update")
            values = base.learning.scaled(base, {n: p.data for n, p in whole.items()}, share)
            adapter.scale, adapter.whole = update * share, {n: nn.Parameter(v) for n, v in values.items()}
            seen, now = read(base, adapter, test), read(base, adapter, self._pulsed(recipe)).states
            losses = [-math.log(max(p[i.label], 1e-12)) for p, i in zip(seen.probabilities, test, strict=True)]
            raw = {"representation_drift": moved(states, now)}
            made.append({"scale": share, "items": losses, "measured": {"raw": raw, "classifier": True}})
        adapter.scale, adapter.whole = update, whole
        return made

    # what is read

    @cached_property
    def spoken(self) -> str:
        return self.task.spoken(self.dataset, self.say)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return labels_in(self.dataset)

    def _key(self, recipe: Recipe) -> Key:
        return (*self.models.key(recipe), self.task.measured_at(recipe))

    def _test(self, recipe: Recipe) -> list[Any]:
        return self._split("test", recipe)

    def _pulsed(self, recipe: Recipe) -> list[Any]:
        some = self._split("validation", recipe)
        return some[:: max(1, len(some) // PULSED)][:PULSED]

    def _split(self, split: str, recipe: Recipe) -> list[Any]:
        key = (split, self.task.measured_at(recipe))
        if key not in self._items:
            self._items[key] = self._made(self.dataset.examples[split], recipe)
        return self._items[key]

    def _made(self, examples: Sequence[Any], recipe: Recipe) -> list[Any]:
        return self.task.measured(examples, self.models.processor, self.labels, recipe)

    def _of_base(self, recipe: Recipe, items: Sequence[Any]) -> Read:
        """The untouched encoder's states, and what the probe makes of them."""
        states = read(self.models.base(recipe), None, items).states
        return Read(self._probe(recipe).of(states), states)

    def _probe(self, recipe: Recipe) -> FrozenProbe:
        base, key = self.models.base(recipe), self._key(recipe)
        if key not in self._probes:
            train, held_out = (self._split(s, recipe) for s in ("train", "validation"))
            self._probes[key] = probe_of(base, train, held_out, cache_folder() / KEEP)
        return self._probes[key]

    def _tuned(self, recipe: Recipe) -> tuple[ClassifierBase, Adapter | None]:
        return self.models.tuned(recipe, self.store.folder / "runs" / recipe.run_id / "best")

    def _label_task(self, language: str) -> LabelTask:
        place = {label: i for i, label in enumerate(self.labels)}
        return LabelTask(
            self.labels, (), tuple(place[e.answer.strip()] for e in self.dataset.examples["test"]), language
        )

    def _predictions(
        self, recipe: Recipe, task: LabelTask, tuned: tuple[ClassifierBase, Adapter | None] | None
    ) -> Predictions:
        test, examples = self._test(recipe), self.dataset.examples["test"]
        versions = [self.task.versions(e, task.language) for e in examples[:REPHRASED]]
        items = test + self._made([v for some in versions for v in some], recipe)
        seen = self._of_base(recipe, items) if tuned is None else read(*tuned, items)
        rows = iter(seen.probabilities[len(test) :])
        return Predictions(
            seen.probabilities[: len(test)], [[next(rows) for _ in some] for some in versions], seen.states[:STATES]
        )

    # what is made of it

    def _named(self, seen: Read) -> list[str]:
        return [self.labels[pick(p)] for p in seen.probabilities]

    def _samples(self, recipe: Recipe) -> list[dict[str, Any]]:
        known = getattr(self.store.study(self.study).facts, "base", None) if self.study else None
        base = (known or self.measure_base(recipe))["answers"]
        self.measure_task([recipe])
        tuned = self.store.run(recipe.run_id).result["answers"]
        return [
            {"probe": "task", "prompt": self.task.shown(e), "reference": e.answer, "base": b, "tuned": t}
            for e, b, t in zip(self.dataset.examples["test"], base, tuned, strict=True)
        ]


def _numbers(seen: Read, items: Sequence[Any]) -> dict[str, list[float]]:
    return {"accuracy": [float(pick(p) == i.label) for p, i in zip(seen.probabilities, items, strict=True)]}
