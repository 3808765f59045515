"""Cards of models that trimtab did not train. Takes names and folders, gives measured values; keeps nothing."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab.analysis.card import still_open
from trimtab.analysis.looks import PIECE
from trimtab.behaviour import card as cards
from trimtab.behaviour import sequence_classifier
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.drift import Neutral, extended, reference
from trimtab.behaviour.floor import floor
from trimtab.behaviour.kept import KEEP
from trimtab.behaviour.label_task import LABEL_CHANGES, compare, label_task_of, predict
from trimtab.behaviour.responses import Battery
from trimtab.behaviour.rounds import Until
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.prepare import Dataset, load
from trimtab.datasets.survey import LABELS_AT_MOST
from trimtab.datasets.tokens import Tokens, tokenise
from trimtab.errors import DataError, ModelError, SpecError
from trimtab.run.checkpoint import load_adapter
from trimtab.run.machine import Machine
from trimtab.spec.budget import Budget
from trimtab.spec.probe import Probe
from trimtab.spec.status import Level
from trimtab.tasks import pretrained as models
from trimtab.tasks.chat_meter import SEEN, generic_most, language_of
from trimtab.tasks.task import Models, Say


def is_adapter(folder: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(folder) / "adapter_config.json").exists()


def pair(tuned: str, base: str, cache: Models, say: Say) -> tuple[EvaluatedModel, EvaluatedModel]:
    """(base, tuned) of an adapter or a whole model."""
    evaluated = EvaluatedModel(cache.base())
    if is_adapter(tuned):
        made_for = json.loads((Path(tuned) / "adapter_config.json").read_text()).get("base_model_name_or_path")
        if made_for and Path(made_for).name != Path(base).name:
            say(f"The adapter names {made_for} as its base; it is measured against {base}")
        return evaluated, EvaluatedModel(evaluated.base, load_adapter(Path(tuned), evaluated.base))
    if Path(tuned).is_dir() and not (Path(tuned) / "config.json").exists():
        raise ModelError(f"{tuned} holds neither an adapter (adapter_config.json) nor a model (config.json)")
    return evaluated, EvaluatedModel(cache.fresh(tuned, cache.key(), models.load_tokenizer(tuned, say)))


def card(
    tuned: str,
    base: str,
    data: str | None,
    budget: Budget,
    level: Level,
    language: str | None,
    own: Sequence[Probe],
    machine: Machine,
    cache: Models,
    say: Say,
    prompts: int = 0,
    whole: bool = False,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(measured, answers side by side). With data also the task, forgetting of it and memorisation of its training
    part. As ChatMeter.card: until the limited numbers are known, or all (`whole`); at least `prompts` generic ones."""
    if not is_adapter(tuned) and models.is_classifier(tuned, say):
        return _classifier(tuned, base, data, level, language, machine, say)
    one, other = pair(tuned, base, cache, say)
    dataset = load(data, say=say) if data else None
    spoken = language or (language_of(dataset, say) if dataset else "en")
    battery = Battery(level, spoken, tuple(own))
    keep, tongue = cache_folder() / KEEP, spoken or "en"
    few = reference(one, keep, tongue)
    ref = functools.cache(lambda count: extended(few, one, keep, tongue, count))  # asked for at every look
    neutral = Neutral(ref, generic_most(budget, level, spoken, prompts, whole), prompts)
    learned = _learned(dataset, one) if dataset else None
    judge = lambda m: EvaluatedModel(cache.other(m))  # noqa: E731
    until = None if whole or level == "pulse" else Until(lambda so_far: still_open(so_far, budget))
    measured, samples = cards.measure(one, other, neutral, battery, learned, keep, judge, until)
    if dataset and level != "pulse":
        task = cards.task_of(dataset.examples["test"], dataset.is_json, one.base.tokenizer)
        labels = label_task_of(dataset.examples["train"], dataset.examples["test"], spoken)
        if labels:
            measured["raw"] |= compare(predict(one, labels, keep), predict(other, labels), labels)
        said = [cards.ask_task(s, task) for s in (one, other)]
        numbers = [
            cards.task_numbers(a, task, cards.sureness(s, task, a)) for s, a in zip((one, other), said, strict=True)
        ]
        measured["raw"] |= {f"base_{k}": v for k, v in numbers[0].items()} | numbers[1]
        samples = [
            {
                "probe": "task",
                "prompt": e.messages[-2]["content"],
                "reference": e.answer,
                "base": b.text,
                "tuned": t.text,
            }
            for e, b, t in zip(task.examples, *said, strict=True)
        ] + samples
    measured["missing"].setdefault("dominance", "only a run that trimtab trained has gradient shares")
    measured["floor"] = floor(one, ref(PIECE), battery, keep)
    return measured, samples


def _classifier(
    tuned: str, base: str, data: str | None, level: Level, language: str | None, machine: Machine, say: Say
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A model with a classification head: its labels and its states beside its base's, and nothing that needs words."""
    if data is None:
        raise SpecError(
            "--data", [f"{tuned} is a classifier: its card needs labelled examples; name them with --data FILE"]
        )
    dataset = load(data, say=say)
    spoken = language or language_of(dataset, say) or "en"
    task = label_task_of(
        dataset.examples["train"], [*dataset.examples["validation"], *dataset.examples["test"]], spoken
    )
    if task is None:
        raise DataError(
            f"{data} has no labels that a classifier could be asked for: at most {LABELS_AT_MOST} different answers,"
            " five examples of each"
        )
    began = time.monotonic()
    one, other = (sequence_classifier.load(name, machine.device, say) for name in (base, tuned))
    before, after = sequence_classifier.predict(one, task), sequence_classifier.predict(other, task)
    raw = compare(before, after, task) | sequence_classifier.weight_change(one, other)
    why = (
        dict.fromkeys(LABEL_CHANGES, f"{base} has no classification head, so there is no label of the base")
        if not one.labels
        else {}
    )
    measured = {
        "raw": raw, "missing": why, "seconds": {"labels": time.monotonic() - began}, "level": level, "language": spoken,
        "classifier": True,
    }  # fmt: skip
    picks = [raw.get(f"label_pick_{side}", [None] * len(task.truth)) for side in ("base", "tuned")]
    names = lambda i: "" if i is None else task.labels[int(i)]  # noqa: E731
    samples = [
        {"probe": "task", "prompt": p[-1]["content"], "reference": task.labels[t], "base": names(b), "tuned": names(a)}
        for p, t, b, a in zip(task.prompts, task.truth, *picks, strict=True)
    ]
    return measured, samples


def _learned(dataset: Dataset, base: EvaluatedModel) -> cards.Learned:
    """The data's own split: what is called its training part was trained on, if the person names the right data."""

    def some(split: str) -> tuple[Tokens, ...]:
        examples = dataset.examples[split]
        every = tokenise(examples[:: max(1, len(examples) // SEEN)][:SEEN], base.base.tokenizer, 2048)
        return tuple(t for t in every if t.weight)

    return cards.Learned(some("train"), some("test"))
