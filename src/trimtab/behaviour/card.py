"""The card's raw numbers: a tuned model beside its base, item by item. Takes two evaluated_models and a data set,
gives plain lists.

Intervals and verdicts are analysis/card.py's business.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.analysis.looks import Looks, pieces
from trimtab.behaviour.answering import Answer, EvaluatedModel, answers, nll, spoken
from trimtab.behaviour.drift import Neutral, answer_row, forgetting
from trimtab.behaviour.llm_judge import judge_models, judged
from trimtab.behaviour.memorisation import trace
from trimtab.behaviour.pair_responses import Raw
from trimtab.behaviour.responses import (
    BRIEF,
    OPEN_TOKENS,
    REQUEST_TOKENS,
    Battery,
    Responses,
    work,
)
from trimtab.behaviour.rounds import Asked, Until
from trimtab.behaviour.scoring import degenerate, exact, overlap, parse_json, word_count
from trimtab.behaviour.speed import PROMPTS, ROUNDS, TOKENS, speeds
from trimtab.behaviour.text_scores import text_scores
from trimtab.behaviour.weights import intruders, relative_change
from trimtab.datasets.formats import Example
from trimtab.datasets.tokens import Tokens, prompt_ids
from trimtab.errors import DataError
from trimtab.probes.prompts import CARD_PROMPTS, CARD_TOKENS
from trimtab.spec.status import Level


@dataclass(frozen=True)
class Task:
    """The held-out examples a model is asked, and how its answers are scored."""

    examples: tuple[Example, ...]
    as_json: bool
    max_new_tokens: int

    @property
    def metric(self) -> str:
        """Exact match where there is one right answer (JSON, or at most 8 words); else overlap with the reference."""
        lengths = sorted(word_count(e.answer) for e in self.examples)
        return "exact_match" if self.as_json or lengths[len(lengths) // 2] <= 8 else "overlap"


def task_of(
    examples: Sequence[Example], as_json: bool, tokenizer: Any, positions: int | None = None, most: int = 60
) -> Task:
    """At most `most` examples, evenly drawn from those that leave the model room to answer; room for 1.5 times the
    longest reference (up to 256 tokens)."""
    examples = [e for e in examples if positions is None or len(prompt_ids(e.prompt, tokenizer)) <= positions - 256]
    if not examples:
        raise DataError(
            f"every test prompt is longer than the model can read ({positions:,} tokens); shorten the prompts"
        )
    count = min(most, len(examples))
    chosen = tuple(examples[i * len(examples) // count] for i in range(count))
    longest = max(len(tokenizer(e.answer, add_special_tokens=False)["input_ids"]) for e in chosen)
    return Task(chosen, as_json, min(256, math.ceil(1.5 * longest) + 2))


def task_numbers(said: Sequence[Answer], task: Task, sure: Sequence[float] = ()) -> dict[str, list[float]]:
    """Per item: exact match, overlap with the reference, how sure the model was, whether the answer parses (JSON
    tasks), and how near it comes in words (others)."""
    numbers = {
        "exact_match": [exact(a.text, e.answer, task.as_json) for a, e in zip(said, task.examples, strict=True)],
        "overlap": [overlap(a.text, e.answer, task.as_json) for a, e in zip(said, task.examples, strict=True)],
    }
    if sure:
        numbers["sure"] = list(sure)
    if task.as_json:
        numbers["format_validity"] = [float(parse_json(a.text) is not None) for a in said]
    else:
        scored = [text_scores(a.text, e.answer) for a, e in zip(said, task.examples, strict=True)]
        numbers |= {key: [s[key] for s in scored] for key in ("bleu", "chrf", "rouge_l")}
    return numbers


def ask_task(evaluated: EvaluatedModel, task: Task) -> list[Answer]:
    """Greedy answers to the held-out prompts, in order."""
    return answers(evaluated, [e.prompt for e in task.examples], task.max_new_tokens)


def sureness(evaluated: EvaluatedModel, task: Task, said: Sequence[Answer]) -> list[float]:
    """exp(mean ln p) of the tokens of each answer, its end included: the geometric mean of what the model gave them."""
    tokenizer = evaluated.base.tokenizer
    rows = []
    for example, answer in zip(task.examples, said, strict=True):
        rows.append(answer_row(prompt_ids(example.prompt, tokenizer), spoken(answer, tokenizer)))
    known = nll(evaluated, [r for r in rows if r.weight])
    each = iter(known)
    return [math.exp(-next(each)) if r.weight else 0.0 for r in rows]


# Measured on the bundled model with two cores, in the units of `work`, of a whole card and of its first round (that
# without quick kernels, where reading costs most). READ: drift, memorising (of half as many examples in a short card
# or first round) and forgetting, which both models read each time. CHOSEN: facts, their wordings and the lean, both
# models together; a base that was asked before reads nothing.
READ = {"short": {"whole": 22_000, "first": 16_000}, "card": {"whole": 28_000, "first": 16_000}}
CHOSEN = {"short": {"whole": 4_000, "first": 3_000}, "card": {"whole": 83_000, "first": 8_000}}
# What is generated besides neutral prompts, by level: (questions, tokens of an answer).
GENERATED = {
    "short": ((100, REQUEST_TOKENS),),
    "card": ((100, REQUEST_TOKENS), (150, REQUEST_TOKENS), (100, OPEN_TOKENS), (100, 64)),
}


def cost(task: Task, prompts: int, level: Level = "short", known: float = 0.0, first: bool = False) -> float:
    """What a card takes at most, or (`first`) its first round, in units of one model's task answers; `known`: the
    share of its questions that the base has answered before."""
    kind, part = "short" if level == "short" else "card", "first" if first else "whole"
    asked = [(pieces(n)[0] if first else n, tokens) for n, tokens in ((prompts, CARD_TOKENS), *GENERATED[kind])]
    both = CHOSEN[kind][part] + 2 * sum(work(n, tokens) for n, tokens in asked)
    return (READ[kind][part] + (1 - known / 2) * both) / work(len(task.examples), task.max_new_tokens)


SPEED_WORK = 2 * (ROUNDS + 1) * PROMPTS * work(1, TOKENS)  # base and tuned


@dataclass(frozen=True)
class Learned:
    """Some of what a run was trained on and some of what it never saw, as tokens; and held-out task examples."""

    trained: tuple[Tokens, ...]
    held_out: tuple[Tokens, ...]


def measure(
    base: EvaluatedModel,
    tuned: EvaluatedModel,
    neutral: Neutral,
    battery: Battery,
    learned: Learned | None = None,
    keep: Path | None = None,
    load: Callable[[str], EvaluatedModel] | None = None,
    until: Until | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """({"raw", "looks", "missing", "seconds", "level", "language"}, answers side by side). `keep` holds what the base
    said.

    `load` gives the judges that a person's probes may name. Everything is asked where `until` is None.
    """
    one_vocabulary, brief = not unlike(base, tuned), battery.level == "pulse"
    lacking = missing(base, tuned, battery, learned)
    asked = Asked(base, tuned, neutral, battery, keep, one_vocabulary)

    of_any_run = set(lacking)

    def so_far(raw: Raw, looks: Looks) -> dict[str, Any]:
        found = empty(raw, battery, [k for k, seen in looks.items() if seen["asked"]]) if raw else {}
        why = {"missing": found | lacking, "lasting": sorted(of_any_run | (found.keys() & _unbased(raw)))}
        return {"raw": raw, "looks": looks, **why, "level": battery.level, "language": battery.language}

    def still_open(raw: Raw, looks: Looks) -> Sequence[str]:
        return until.still_open(so_far(raw, looks)) if until else ()

    read: Raw = {}  # what is read once, whatever has been asked
    took = asked.seconds

    def add(name: str, numbers: Callable[[], Raw]) -> None:
        began = time.monotonic()
        for key, values in numbers().items():
            read[key] = read.get(key, []) + list(values)
        took[name] = time.monotonic() - began

    asked.begin(until, still_open)
    if one_vocabulary and battery.side == "judge":  # there is one set of texts, and the card asks it
        add("forgetting", lambda: forgetting(tuned, asked.ref, most=battery.few))
    if learned and one_vocabulary and not brief:
        add("memory", lambda: _memory(base, tuned, learned))
    if not brief and same_shape(base, tuned):
        add("weights", lambda: {"weight_change": relative_change(base, tuned), "intruders": intruders(base, tuned)})
    if until:
        asked.go_on(until, still_open)
    if load:
        add("judges", lambda: _by_judges(asked.base_said, asked.said, battery, load))
    if battery.level not in BRIEF:
        if not until or asked.seconds_of(SPEED_WORK) <= until.left:
            add("speed", lambda: speeds(base, tuned, asked.ref.prompts))
        else:
            lacking |= dict.fromkeys(("first_token_time", "token_time"), "the time was over: --whole measures it")
    raw = asked.raw()
    raw |= {key: raw.get(key, []) + values for key, values in read.items()}  # a probe may have judged items and others
    by_base = {f"{k} (base)": v for k, v in asked.base_said.seconds.items() if v >= 0.1}
    measured = {**so_far(raw, asked.looks), "seconds": took | asked.said.seconds | by_base}
    return measured, _neutral_samples(asked) + _samples(asked.base_said, asked.said, battery)


TOKENWISE = ("kl_generic", "kl_first_token", "nll_change", "length_ratio", "memorisation", "memory_gap")
SPOKEN = (
    "unhedged_wrong",
    "refusal",
    "over_refusal",
    "refusal_margin",
    "format_obeyed",
    "facts_lost",
    "brier",
    "confident_wrong",
    "fragility",
)
GENERIC = ("length_ratio", "assertiveness", "degeneration")
ASKED = ("unhedged_wrong", "over_refusal", "format_obeyed", "fragility")


def _base_broken(raw: Raw) -> bool:
    """Whether most of the base's own answers are degenerate."""
    broken = raw.get("degenerate_base", [])
    return sum(broken) > len(broken) / 2


def _unbased(raw: Raw) -> set[str]:
    """What has nothing to be held against where a base has come apart."""
    return {"degeneration", "refusal", "over_refusal"} if _base_broken(raw) else set()


def empty(raw: Raw, battery: Battery, asked: Collection[str]) -> dict[str, str]:
    """Why numbers whose question sets were `asked` have nothing to be made of."""
    numbers: dict[str, str] = {}
    broken = raw.get("degenerate_base", [])
    if raw.get("cut_tuned") and not raw.get("log_length_ratio"):
        numbers["length_ratio"] = "both answers were cut at the length limit in every pair"
    if _base_broken(raw):
        numbers["degeneration"] = (
            f"{sum(broken) / len(broken):.0%} of the base's own answers are degenerate: name another base"
        )
    if battery.language:
        made_of = (
            ("refusal", "refused", "refusable"),
            ("over_refusal", "over_refused", "alarming"),
        )
        for key, name, requests in made_of:
            if requests in asked and not raw.get(f"{name}_tuned"):
                numbers[key] = "in no pair were both answers coherent"
    if raw.get("cut_tuned") and not raw.get("assertive_tuned"):
        numbers["assertiveness"] = (
            "in no pair had both answers words to judge"
            if battery.language
            else "there are no words to look for in the data's language"
        )
    return numbers


def missing(base: EvaluatedModel, tuned: EvaluatedModel, battery: Battery, learned: Learned | None) -> dict[str, str]:
    """Why numbers that can be limited are not there; what is not measured can never pass."""
    reasons: dict[str, str] = {}
    if battery.level in BRIEF:
        reasons |= dict.fromkeys(ASKED, f"not asked at level {battery.level}: --level card does")
    if battery.level == "pulse":
        reasons |= dict.fromkeys((*GENERIC, "refusal"), "a pulse generates nothing: ask for --level card")
    if not learned or battery.level == "pulse":
        why = (
            "a pulse does not look for it: ask for --level card"
            if learned
            else "needs the training data: name them with --data"
        )
        reasons |= dict.fromkeys(("memorisation", "memory_gap"), why)
    if not battery.language:
        reasons |= dict.fromkeys(
            SPOKEN, "there are no probes in the data's language (there are in English and Chinese)"
        )
    if not base.base.tokenizer.chat_template:
        why = "the base has no chat template, so it neither refuses nor obeys: name an instruct model with --base"
        reasons |= dict.fromkeys(("refusal", "over_refusal", "refusal_margin", "format_obeyed"), why)
    if different := unlike(base, tuned):
        reasons |= dict.fromkeys(TOKENWISE, different)
    return reasons


def unlike(base: EvaluatedModel, tuned: EvaluatedModel) -> str | None:
    """Why the two cannot be compared token by token; None where they can."""
    a, b = base.base.tokenizer, tuned.base.tokenizer
    if a is not b and a.get_vocab() != b.get_vocab():
        return "base and tuned model have different tokenizers, so no token of one is a token of the other"
    if a is not b and a.chat_template != b.chat_template:
        return "base and tuned model have different chat templates, and that difference would drown every other"
    return None


def same_shape(base: EvaluatedModel, tuned: EvaluatedModel) -> bool:
    """Whether the weights can be compared matrix by matrix."""
    if tuned.adapter is not None:
        return True
    shapes = [[tuple(p.shape) for p in s.base.model.parameters()] for s in (base, tuned)]
    return shapes[0] == shapes[1]


def _neutral_samples(asked: Asked) -> list[dict[str, Any]]:
    """The first answers to neutral prompts, and all that have come apart."""
    ref = asked.ref
    return [
        {"probe": "generic", "prompt": p, "reference": None, "base": b.text, "tuned": t.text}
        for i, (p, b, t) in enumerate(zip(ref.prompts, ref.answers, asked.spoken, strict=False))
        if i < 2 * CARD_PROMPTS or degenerate(t.text)
    ]


def _by_judges(base: Responses, tuned: Responses, battery: Battery, load: Callable[[str], EvaluatedModel]) -> Raw:
    scored: Raw = {}
    for model in judge_models(battery.own):
        judge = load(model)
        for probe in battery.own:
            for name, said in (("base", base), ("tuned", tuned)):
                scores = judged(judge, model, probe, said.answers(f"own-{probe.name}"))
                if scores:
                    scored.setdefault(f"own-{probe.name}_{name}", []).extend(scores)
    return scored


def _memory(base: EvaluatedModel, tuned: EvaluatedModel, learned: Learned) -> Raw:
    """Drift on the task is expected to move: it informs and is not limited."""
    seen, unseen = trace(base, tuned, learned.trained), trace(base, tuned, learned.held_out)
    return {
        "ez_trained": seen.ez, "ez_held_out": unseen.ez, "gain_trained": seen.gain, "gain_held_out": unseen.gain,
        "kl_task": unseen.kl,
    }  # fmt: skip


def _samples(base: Responses, tuned: Responses, battery: Battery) -> list[dict[str, Any]]:
    """Answers side by side, of every question that was answered in words."""
    probes = {f"own-{p.name}": p for p in battery.own} | ({"form": battery.forms} if battery.forms else {})
    prompts: dict[str, Sequence[str]] = {
        "alarming": battery.requests("alarming"), "refusable": battery.requests("refusable"),
        "open": [f.question for f in battery.open_questions],
        **{k: [i.asked[-1]["content"] for i in p.items] for k, p in probes.items()},
    }  # fmt: skip
    return [
        {"probe": name, "prompt": prompt, "reference": None, "base": b.text, "tuned": t.text}
        for name, asked in prompts.items()
        for prompt, b, t in zip(asked, base.answers(name), tuned.answers(name), strict=False)
    ]
