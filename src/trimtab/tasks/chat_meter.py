"""The examiner: measures what runs did. Takes trained runs, gives task numbers, pulses and judged cards, all kept in
the store.

What a base says is asked once, before anything can have moved it, and shared by all its runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from trimtab.analysis.card import asked_first, judge, measured_enough, prompts_needed, still_open, unfinished
from trimtab.analysis.gradient_shares import ENOUGH, tops
from trimtab.analysis.looks import PIECE, sets_of
from trimtab.behaviour import card as cards
from trimtab.behaviour import floor as floors
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.drift import Neutral, Reference, extended, reference
from trimtab.behaviour.drift import pulse as taken
from trimtab.behaviour.kept import KEEP
from trimtab.behaviour.label_task import compare, label_task_of, predict
from trimtab.behaviour.responses import Battery, known_share
from trimtab.behaviour.rounds import Until
from trimtab.datasets import languages
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.prepare import Dataset
from trimtab.datasets.tokens import Tokens, tokenise
from trimtab.errors import SpecError
from trimtab.probes.prompts import CARD_PROMPTS, LANGUAGES, OTHERS, generic_prompts, remedy_neutral
from trimtab.run.member import Member
from trimtab.spec.budget import Budget
from trimtab.spec.numbers import number_of
from trimtab.spec.probe import Probe
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Level
from trimtab.store import Store
from trimtab.store.rows import best_of
from trimtab.tasks.pretrained import architecture
from trimtab.tasks.task import Models, Say

SEEN = 80  # examples of each kind that memorisation is looked for in; half as many in a short card or a short time
CARDS: tuple[Level, ...] = ("short", "card")  # that a study may take


class ChatMeter:
    """`models` are the loaded ones, see workers/model_cache.py; `own` a person's probes."""

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
        self.budget, self.study, self.say, self.own = budget, study, say, tuple(own)
        self._references: dict[tuple[bool, bool, int], Reference] = {}
        self._tuning: dict[tuple[bool, bool], Reference] = {}  # of the prompts that remedies are set by

    def prepare(self, recipe: Recipe) -> None:
        """Full fine-tuning moves the base: what it says is asked first."""
        self.ref(recipe)

    def lacks(self) -> dict[str, str]:
        """Of what this model or these data would need for some numbers."""
        lacking = {"gradient shares": "gradient shares are taken by trimtab train --gradient-shares 20"}
        if not self.models.processor.chat_template:
            lacking["a chat template"] = f"{self.models.model} has no chat template, so it neither refuses nor obeys"
        if not self.dataset.is_json:
            lacking["JSON answers"] = "the answers are not JSON"
        else:
            lacking["answers in words"] = "the answers are JSON, whose fields are compared"
        if label_task_of(self.dataset.examples["train"], self.dataset.examples["test"], self.spoken) is None:
            lacking["labels"] = "the answers are no labels"
        return lacking

    def measure_base(self, recipe: Recipe) -> dict[str, Any]:
        """The untouched model's answers and numbers on the task; its own answers to the generic prompts on the side."""
        base = EvaluatedModel(self.models.base())
        self.ref(None)
        task = self.task
        self.say(f"Asking the base model {len(task.examples)} held-out examples")
        began = time.monotonic()
        said = cards.ask_task(base, task)
        seconds, keep = time.monotonic() - began, cache_folder() / KEEP
        known = {level: known_share(base, self.battery(level), keep) for level in CARDS}

        def cost(level: Level, first: bool = False) -> float:
            return cards.cost(task, self._prompts(level), level, known[level], first)

        metric = task.metric if recipe.metric_for_best_model == "loss" else recipe.metric_for_best_model
        if metric in ("bleu", "chrf", "rouge_l") and task.as_json:
            raise SpecError(
                "metric_for_best_model", [f"{metric} compares words, and the answers are JSON; use overlap"]
            )
        return {
            "metric": metric,
            "numbers": cards.task_numbers(said, task, cards.sureness(base, task, said)),
            "answers": [a.text for a in said],
            "answer_seconds": seconds,
            "card_seconds": {level: seconds * cost(level) for level in CARDS},
            "first_seconds": {level: seconds * cost(level, first=True) for level in CARDS},
        }

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        """Asked once per run; kept with it."""
        missing = [r for r in recipes if "task" not in self.store.run(r.run_id).result]
        task = self.task
        for recipe in missing:
            tuned = self._tuned(recipe)
            said = cards.ask_task(tuned, task)
            numbers = cards.task_numbers(said, task, cards.sureness(tuned, task, said))
            self.store.update_run(recipe.run_id, result={"task": numbers, "answers": [a.text for a in said]})
        return {r.run_id: self.store.run(r.run_id).result["task"] for r in recipes}

    def card(
        self,
        recipe: Recipe,
        level: Level = "card",
        language: str | None = None,
        prompts: int = 0,
        whole: bool = False,
        seconds: float = math.inf,
    ) -> dict[str, Any]:
        """Measure (or look up) and judge; the answers side by side become samples. Each question set is asked until
        the numbers with a limit are known, or (`whole`) to its end, or after its first piece the `seconds` are over;
        at least `prompts` generic prompts are asked."""
        names = [p.name for p in self.own]
        stored = self.store.card(recipe.run_id)
        if stored and measured_enough(stored["measured"], self.budget, level, names, prompts, whole):
            return judge(stored["measured"], self.budget)
        task, asked = self._task(recipe) if level != "pulse" else ({}, [])
        whole = whole or level == "pulse"
        base, tuned = EvaluatedModel(self.models.base(recipe)), self._tuned(recipe)
        battery = self.battery(level, language)
        most = SEEN // 2 if level == "short" or seconds < math.inf else SEEN
        learned = cards.Learned(self._some("train", recipe, most), self._some("test", recipe, most))
        budget = self.budget
        until = None if whole else Until(lambda so_far: still_open(so_far, budget), asked_first(budget), seconds)
        neutral = self._neutral(recipe, level, prompts, whole)
        measured, samples = cards.measure(
            base, tuned, neutral, battery, learned, cache_folder() / KEEP, self._judge, until
        )
        if seconds < math.inf and unfinished(measured, self.budget):
            measured["notes"] = [f"The time ended before every number was known: trimtab card {recipe.run_id} asks on"]
        measured["raw"] |= task | self._labels(base, tuned, level) | self._pulse_at_best(recipe)
        measured["raw"]["dominance"] = tops([u["gradient_shares"] for u in self.store.updates(recipe.run_id)])
        if not measured["raw"]["dominance"]:
            measured["missing"]["dominance"] = (
                f"no update had {ENOUGH} gradients to be told apart: train with --gradient-shares 20, or with more"
                " gradient accumulation"
            )
        measured["floor"] = self._floor(recipe, self.ref(recipe, PIECE), battery)
        samples = asked + samples
        judged = judge(measured, self.budget)
        self.store.save_samples(recipe.run_id, samples)
        self.store.save_card(recipe.run_id, measured, judged)  # last: a card that is there is whole
        return judged

    def _task(self, recipe: Recipe) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
        """(numbers of base and run on the held-out examples, their answers side by side); a pulse generates none."""
        known = getattr(self.store.study(self.study).facts, "base", None) if self.study else None
        base = known or self.measure_base(recipe)
        numbers = self.measure_task([recipe])[recipe.run_id]
        return {**numbers, **{f"base_{k}": v for k, v in base["numbers"].items()}}, self._task_samples(
            recipe, base["answers"]
        )

    def _pulse_at_best(self, recipe: Recipe) -> dict[str, list[float]]:
        """Numbers that are taken while training alone, so that a limit on one is judged with the card."""
        best = best_of(self.store.evaluations(recipe.run_id))
        return {k: v for k, v in best["pulse"].items() if k.startswith("kl_pulse")} if best else {}

    def _labels(self, base: EvaluatedModel, tuned: EvaluatedModel, level: Level) -> dict[str, list[float]]:
        """Where the answers are labels: what base and tuned predict of each."""
        task = label_task_of(self.dataset.examples["train"], self.dataset.examples["test"], self.spoken)
        if task is None or level == "pulse":
            return {}
        return compare(predict(base, task, cache_folder() / KEEP), predict(tuned, task), task)

    def scales(self, recipe: Recipe) -> list[dict[str, Any]]:
        """An adapter at several strengths: held-out loss by example and what a pulse measures."""
        base, tuned = EvaluatedModel(self.models.base(recipe)), self._tuned(recipe)
        rows = self._some("test", recipe)
        return floors.scales(base, tuned, self.ref(recipe), self.battery("pulse"), rows, cache_folder() / KEEP)

    def side(self, recipe: Recipe) -> dict[str, list[float]]:
        """What a remedy's strength is set by: drift and the lean towards declining on prompts that no card asks. Of
        the whole run's adapter at this share, so that a share can be looked for before it is a run."""
        base, tuned = EvaluatedModel(self.models.base(recipe)), self._tuned(recipe.whole)
        key = self.models.key(recipe)
        if key not in self._tuning:
            language = self.spoken or "en"
            prompts = remedy_neutral("tune", language)
            self._tuning[key] = reference(base, cache_folder() / KEEP, language, prompts=prompts)
        battery = Battery("pulse", self.spoken, side="tune")
        if tuned.adapter:
            tuned.adapter.scale *= recipe.adapter_scale
        return cards.measure(base, tuned, self._tuning[key].fixed(), battery, None, cache_folder() / KEEP)[0]["raw"]

    def pulse(self, member: Member) -> dict[str, list[float]]:
        """Drift on a few neutral prompts, without generating."""
        return taken(EvaluatedModel(self.models.base(member.recipe), member.adapter), self.ref(member.recipe))

    def ref(self, recipe: Recipe | None, prompts: int = CARD_PROMPTS) -> Reference:
        """What the base of this recipe says; asked before anything can have moved it."""
        key = (*self.models.key(recipe), prompts)
        if key not in self._references:
            self.say(f"Asking the base model {prompts} generic prompts")
            base, cache, language = EvaluatedModel(self.models.base(recipe)), cache_folder() / KEEP, self.spoken or "en"
            if prompts == CARD_PROMPTS:
                self._references[key] = reference(base, cache, language)
            else:
                self._references[key] = extended(self.ref(recipe), base, cache, language, prompts)
        return self._references[key]

    def _neutral(self, recipe: Recipe, level: Level, prompts: int, whole: bool) -> Neutral:
        most = generic_most(self.budget, level, self.spoken, prompts, whole)
        return Neutral(lambda count: self.ref(recipe, count), most, prompts)

    def battery(self, level: Level, language: str | None = None) -> Battery:
        """What is asked at this level."""
        return Battery(level, language or self.spoken, self.own)

    @cached_property
    def spoken(self) -> str | None:
        """The data's language, None where there are no probes in it."""
        return language_of(self.dataset, self.say)

    @cached_property
    def task(self) -> cards.Task:
        positions = architecture(self.models.model, self.say)["positions"]
        return cards.task_of(self.dataset.examples["test"], self.dataset.is_json, self.models.processor, positions)

    def _prompts(self, level: Level) -> int:
        return generic_count(self.budget, level, self.spoken)

    def _tuned(self, recipe: Recipe) -> EvaluatedModel:
        return EvaluatedModel(*self.models.tuned(recipe, self.store.folder / "runs" / recipe.run_id / "best"))

    def _judge(self, model: str) -> EvaluatedModel:
        return EvaluatedModel(self.models.other(model))

    def _floor(self, recipe: Recipe, ref: Reference, battery: Battery) -> dict[str, Any]:
        """On a base of its own where all weights are trained: noise is added through adapters, which would stay on
        it."""
        base = self.models.base(recipe)
        if recipe.method == "full":
            base = self.models.fresh(self.models.model, self.models.key(recipe), self.models.processor)
        return floors.floor(EvaluatedModel(base), ref, battery, cache_folder() / KEEP)

    def _some(self, split: str, recipe: Recipe, most: int = SEEN) -> tuple[Tokens, ...]:
        examples = self.dataset.examples[split]
        every = tokenise(examples[:: max(1, len(examples) // most)][:most], self.models.processor, recipe.max_length)
        return tuple(t for t in every if t.weight)

    def _task_samples(self, recipe: Recipe, base_answers: Sequence[str]) -> list[dict[str, Any]]:
        tuned = self.store.run(recipe.run_id).result["answers"]
        return [
            {"probe": "task", "prompt": e.messages[-2]["content"], "reference": e.answer, "base": b, "tuned": t}
            for e, b, t in zip(self.task.examples, base_answers, tuned, strict=True)
        ]


def generic_count(budget: Budget, level: Level, spoken: str | None, asked: int = 0) -> int:
    """Neutral prompts: as many as the budget's limit on degeneration needs, less what a card asks besides; or as a
    person asked for."""
    if level == "pulse":
        return CARD_PROMPTS
    return prompts_needed(budget, OTHERS if level != "short" and spoken else 0, asked)


def generic_most(budget: Budget, level: Level, spoken: str | None, asked: int, whole: bool) -> int:
    """As many as there are where a card asks until it knows; else, and where nothing that they tell is limited, as many
    as the budget needs."""
    limited = any(set(sets_of(number_of(key).asked_by)) & {"generic"} for key in budget.limits)
    if level == "pulse" or whole or not limited:
        return generic_count(budget, level, spoken, asked)
    return len(generic_prompts(spoken or "en"))


def language_of(dataset: Dataset, say: Callable[[str], None]) -> str | None:
    """The data's commonest language, None where there are no probes in it; English where no language can be told."""
    shares = languages.shares([e.text for e in dataset.examples["train"]])
    top = next(iter(shares), "en")
    if top not in LANGUAGES:
        say(f'The data are in "{top}", in which there are no probes: numbers that need them are not measured')
    return top if top in LANGUAGES else None
