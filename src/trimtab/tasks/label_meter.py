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
from typing import Any

from torch import nn

from trimtab.analysis.card import judge
from trimtab.behaviour.floor import SCALES
from trimtab.behaviour.frozen_probe import CUTOFF, FrozenProbe, Read, probe_of, read
from trimtab.behaviour.kept import KEEP
from trimtab.behaviour.label_task import REPHRASED, STATES, LabelTask, Predictions, compare, moved
from trimtab.behaviour.pair_responses import pick
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.formats import Example
from trimtab.datasets.label_items import Labelled, encoded, labels_in
from trimtab.datasets.prepare import Dataset
from trimtab.errors import SpecError
from trimtab.run.adapters import Adapter
from trimtab.run.member import Member
from trimtab.spec.budget import Budget
from trimtab.spec.probe import Probe
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.tasks.chat_meter import language_of
from trimtab.tasks.classifier_base import ClassifierBase
from trimtab.tasks.task import Models, Say

PULSED = 64  # validation items of a pulse


class LabelMeter:
    """`models` are the loaded ones, see workers/model_cache.py."""

    def __init__(
        self,
        store: Store,
        models: Models,
        dataset: Dataset,
        budget: Budget,
        study: str | None,
        say: Say,
        own: Sequence[Probe] = (),
    ):
        self.store, self.models, self.dataset = store, models, dataset
        self.budget, self.study, self.say = budget, study, say
        if own:
            raise SpecError("--probes", ["ask for answers in words, which a classifier does not give; leave them out"])
        self._states: dict[tuple[bool, bool], list[list[float]]] = {}  # of the untouched base, by how it is loaded
        self._probes: dict[tuple[bool, bool], FrozenProbe] = {}

    def prepare(self, recipe: Recipe) -> None:
        """Full fine-tuning moves the base: its states are read first."""
        key = self.models.key(recipe)
        if key not in self._states:
            self._states[key] = read(self.models.base(recipe), None, self._pulsed).states

    def lacks(self) -> dict[str, str]:
        return {"gradient shares": "gradient shares are taken by trimtab train --gradient-shares 20"}

    def measure_base(self) -> dict[str, Any]:
        """The frozen probe on the held-out examples."""
        self.say(f"Asking the base model {len(self._test)} held-out examples")
        self._probe(None)  # fitted once, which is none of an answer's time
        began = time.monotonic()
        seen = self._of_base(None, self._test)
        seconds = time.monotonic() - began
        card = seconds * (1 + 5 * REPHRASED / max(1, len(self._test)))
        return {
            "metric": "accuracy",
            "numbers": self._numbers(seen),
            "answers": self._named(seen),
            "answer_seconds": seconds,
            "card_seconds": {"short": 2 * card, "card": 2 * card},
            "first_seconds": {"short": 2 * card, "card": 2 * card},
        }

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        """Asked once per run; kept with it."""
        for recipe in [r for r in recipes if "task" not in self.store.run(r.run_id).result]:
            seen = read(*self._tuned(recipe), self._test)
            told = {"task": self._numbers(seen), "answers": self._named(seen)}
            self.store.update_run(recipe.run_id, result=told)
        return {r.run_id: self.store.run(r.run_id).result["task"] for r in recipes}

    def pulse(self, member: Member) -> dict[str, list[float]]:
        """How far the states of some validation texts have moved."""
        now = read(self.models.base(member.recipe), member.adapter, self._pulsed).states
        return {"representation_drift": moved(self._states[self.models.key(member.recipe)], now)}

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
        update, whole, states = adapter.scale, dict(adapter.whole), self._states[self.models.key(recipe)]
        made = []
        for share in SCALES:
            self.say(f"Measuring {share:g} of the update")
            values = base.learning.scaled(base, {n: p.data for n, p in whole.items()}, share)
            adapter.scale, adapter.whole = update * share, {n: nn.Parameter(v) for n, v in values.items()}
            seen, now = read(base, adapter, self._test), read(base, adapter, self._pulsed).states
            losses = [-math.log(max(p[i.label], 1e-12)) for p, i in zip(seen.probabilities, self._test, strict=True)]
            raw = {"representation_drift": moved(states, now)}
            made.append({"scale": share, "items": losses, "measured": {"raw": raw, "classifier": True}})
        adapter.scale, adapter.whole = update, whole
        return made

    # what is read

    @cached_property
    def spoken(self) -> str:
        return language_of(self.dataset, self.say) or "en"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return labels_in(self.dataset)

    @cached_property
    def _test(self) -> list[Labelled]:
        return self._encoded(self.dataset.examples["test"])

    @cached_property
    def _pulsed(self) -> list[Labelled]:
        some = self.dataset.examples["validation"]
        return self._encoded(some[:: max(1, len(some) // PULSED)][:PULSED])

    def _encoded(self, examples: Sequence[Example]) -> list[Labelled]:
        return encoded(examples, self.models.processor, CUTOFF, self.labels)

    def _of_base(self, recipe: Recipe | None, items: Sequence[Labelled]) -> Read:
        """The untouched encoder's states, and what the probe makes of them."""
        states = read(self.models.base(recipe), None, items).states
        return Read(self._probe(recipe).of(states), states)

    def _probe(self, recipe: Recipe | None) -> FrozenProbe:
        base, key = self.models.base(recipe), self.models.key(recipe)
        if key not in self._probes:
            train, held_out = (self._encoded(self.dataset.examples[s]) for s in ("train", "validation"))
            self._probes[key] = probe_of(base, train, held_out, cache_folder() / KEEP)
        return self._probes[key]

    def _tuned(self, recipe: Recipe) -> tuple[ClassifierBase, Adapter | None]:
        return self.models.tuned(recipe, self.store.folder / "runs" / recipe.run_id / "best")

    def _label_task(self, language: str) -> LabelTask:
        test = self.dataset.examples["test"]
        place = {label: i for i, label in enumerate(self.labels)}
        return LabelTask(
            self.labels, tuple(tuple(e.prompt) for e in test), tuple(place[e.answer.strip()] for e in test), language
        )

    def _predictions(
        self, recipe: Recipe, task: LabelTask, tuned: tuple[ClassifierBase, Adapter | None] | None
    ) -> Predictions:
        versions = [
            [Example((*version, {"role": "assistant", "content": task.labels[truth]})) for version in some]
            for some, truth in zip(task.rephrased, task.truth, strict=False)
        ]
        items = self._test + self._encoded([v for some in versions for v in some])
        seen = self._of_base(recipe, items) if tuned is None else read(*tuned, items)
        rows = iter(seen.probabilities[len(self._test) :])
        return Predictions(
            seen.probabilities[: len(self._test)], [[next(rows) for _ in some] for some in versions],
            seen.states[:STATES],
        )  # fmt: skip

    # what is made of it

    def _numbers(self, seen: Read) -> dict[str, list[float]]:
        right = zip(seen.probabilities, self._test, strict=True)
        return {"accuracy": [float(pick(p) == i.label) for p, i in right]}

    def _named(self, seen: Read) -> list[str]:
        return [self.labels[pick(p)] for p in seen.probabilities]

    def _samples(self, recipe: Recipe) -> list[dict[str, Any]]:
        known = getattr(self.store.study(self.study).facts, "base", None) if self.study else None
        base = (known or self.measure_base())["answers"]
        self.measure_task([recipe])
        tuned = self.store.run(recipe.run_id).result["answers"]
        return [
            {"probe": "task", "prompt": e.messages[-2]["content"], "reference": e.answer, "base": b, "tuned": t}
            for e, b, t in zip(self.dataset.examples["test"], base, tuned, strict=True)
        ]
