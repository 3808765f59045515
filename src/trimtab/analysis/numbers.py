"""Every number of the card: how its interval is made from raw values, pair by pair. Pure; a table and the few forms in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trimtab.analysis import stats
from trimtab.analysis.stats import Interval

Raw = Mapping[str, Sequence[float]]
Made = Callable[[Raw], Interval | None]
Value = Callable[[Raw], float | None]


@dataclass(frozen=True)
class Number:
    """`interval` is what a limit is held against (a change, where there is a base value); `base` and `tuned` are shown beside it."""

    group: str
    title: str
    unit: str
    interval: Made
    base_of: Value = lambda _raw: None
    tuned_of: Value = lambda _raw: None
    pair: str | None = None  # raw values called so, for base and tuned alike
    items: str = "items"  # what there would have to be more of

    def base(self, raw: Raw) -> float | None:
        return _mean(f"{self.pair}_base")(raw) if self.pair else self.base_of(raw)

    def tuned(self, raw: Raw) -> float | None:
        return _mean(f"{self.pair}_tuned")(raw) if self.pair else self.tuned_of(raw)


def _mean(key: str) -> Value:
    return lambda raw: stats.average(raw[key]) if raw.get(key) else None


def _share(key: str) -> Made:
    return lambda raw: stats.share(int(sum(raw[key])), len(raw[key])) if raw.get(key) else None


def _items(key: str) -> Made:
    return lambda raw: stats.mean(raw[key]) if raw.get(key) else None


def _one(key: str) -> Made:
    """A single number without an interval of its own."""
    return lambda raw: stats.mean(raw[key][:1]) if raw.get(key) else None


def _change(key: str) -> Made:
    """tuned − base of the same items."""
    return lambda raw: _paired(raw, f"{key}_tuned", f"{key}_base", stats.paired)


def _share_change(key: str, sign: int = 1) -> Made:
    """The same for items between 0 and 1; `sign` −1 turns a loss into a positive number."""
    after, before = (f"{key}_tuned", f"{key}_base")[::sign]
    return lambda raw: _paired(raw, after, before, stats.paired_shares)


def _paired(
    raw: Raw, after: str, before: str, make: Callable[[Sequence[float], Sequence[float]], Interval | None]
) -> Interval | None:
    return make(raw[after], raw[before]) if raw.get(after) and raw.get(before) else None


def _newly(raw: Raw) -> Interval | None:
    """Degenerate where the base was not, of all prompts: what the tuning did, unless most of the base is broken already."""
    if not raw.get("degenerate_tuned") or stats.average(raw["degenerate_base"]) > 0.5:
        return None
    pairs = list(zip(raw["degenerate_tuned"], raw["degenerate_base"], strict=True))
    return stats.share(sum(t > b for t, b in pairs), len(pairs))


def _ratio(key: str) -> Made:
    """exp of a mean log ratio."""

    def made(raw: Raw) -> Interval | None:
        log = stats.mean(raw[key]) if raw.get(key) else None
        return log and stats.moved(log, lambda v: math.exp(min(v, 50.0)))

    return made


def _medians(key: str) -> Made:
    """Ratio of medians, tuned / base, of rounds taken by turns; the interval is the rounds' own spread."""

    def made(raw: Raw) -> Interval | None:
        base, tuned = raw.get(f"{key}_base"), raw.get(f"{key}_tuned")
        if not base or not tuned or min(base) <= 0 or min(tuned) <= 0:
            return None
        logs = [math.log(t / b) for t, b in zip(tuned, base, strict=True)]
        log = stats.seeds(logs)
        return log and stats.moved(log, lambda v: math.exp(min(v, 50.0)))

    return made


def _overconfident(raw: Raw) -> Interval | None:
    """Change of (confidence − accuracy): signed, so that its mean has no bias, which the binned error has."""
    keys = ("sure_tuned", "right_tuned", "sure_base", "right_base")
    if not all(raw.get(k) for k in keys):
        return None
    a, b, c, d = (np.asarray(raw[k], dtype=float) for k in keys)
    return stats.mean(list((a - b) - (c - d)))


def _overconfidence(name: str) -> Value:
    def value(raw: Raw) -> float | None:
        sure, right = raw.get(f"sure_{name}"), raw.get(f"right_{name}")
        return stats.average(sure) - stats.average(right) if sure and right else None

    return value


def _ece(raw: Raw) -> Interval | None:
    """The change alone: bins of a few dozen items find an error of a few points in a calibrated model, so no interval is honest."""
    base, tuned = _ece_of("base")(raw), _ece_of("tuned")(raw)
    return None if base is None or tuned is None else stats.mean([tuned - base])


def calibration_error(sure: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Σ (share of items in the bin) · |mean confidence − accuracy|."""
    order = np.argsort(sure, kind="stable")
    parts = [p for p in np.array_split(order, bins) if p.size]
    return float(sum(p.size * abs(sure[p].mean() - right[p].mean()) for p in parts) / sure.size)


def _ece_of(name: str) -> Value:
    def value(raw: Raw) -> float | None:
        sure, right = raw.get(f"sure_{name}"), raw.get(f"right_{name}")
        return calibration_error(np.asarray(sure), np.asarray(right)) if sure and right else None

    return value


def _top(key: str, q: float = 0.95) -> Made:
    """A high quantile, resampled."""

    def made(raw: Raw) -> Interval | None:
        return stats.resampled([np.asarray(raw[key])], lambda x: float(np.quantile(x, q))) if raw.get(key) else None

    return made


def _auc(raw: Raw) -> Interval | None:
    a, b = raw.get("ez_trained"), raw.get("ez_held_out")
    return stats.auc(a, b) if a and b else None


def _gap(raw: Raw) -> Interval | None:
    """(loss gained on trained examples) − (on held-out ones): what was learned of the examples and not of the task."""
    a, b = raw.get("gain_trained"), raw.get("gain_held_out")
    return stats.difference(a, b) if a and b else None


def _gain(raw: Raw) -> Interval | None:
    return _paired(raw, "exact_match", "base_exact_match", stats.paired_shares)


def _task_sure_wrong(raw: Raw) -> Interval | None:
    pair = [_sure_wrong(raw, p) for p in ("", "base_")]
    return stats.paired_shares(pair[0], pair[1]) if pair[0] and pair[1] else None


def _sure_wrong(raw: Raw, prefix: str) -> list[float] | None:
    sure, right = raw.get(f"{prefix}sure"), raw.get(f"{prefix}exact_match")
    return [float(s >= 0.9 and not r) for s, r in zip(sure, right, strict=True)] if sure and right else None


def _task_value(prefix: str) -> Value:
    def value(raw: Raw) -> float | None:
        found = _sure_wrong(raw, prefix)
        return stats.average(found) if found else None

    return value


NATS, SHARE, CHANGE = "nats/token", "share", "change of the share"
CARD: dict[str, Number] = {
    "kl_generic": Number("drift", "Drift on generic prompts, KL(base‖tuned)", NATS, _items("kl_generic"), items="prompts"),
    "kl_first_token": Number("drift", "… of the first answer token", NATS, _items("kl_first_token")),
    "kl_opening": Number("drift", "… of the first five", NATS, _items("kl_opening")),
    "kl_rest": Number("drift", "… of the rest", NATS, _items("kl_rest")),
    "kl_p99": Number("drift", "… of the most changed 1 % of tokens", NATS, _one("kl_p99")),
    "same_choice": Number("drift", "Tokens with the same first choice", SHARE, _items("same_choice")),
    "kl_task": Number("drift", "Drift on the task itself (expected)", NATS, _items("kl_task")),
    "nll_change": Number("drift", "Forgetting, ΔNLL on human text", NATS, _change("nll"), pair="nll", items="texts"),
    "length_ratio": Number("style", "Answer length on generic prompts", "tuned/base", _ratio("log_length_ratio"), items="prompts"),
    "cut": Number("style", "Answers cut at the length limit", SHARE, _share("cut_tuned"), _mean("cut_base"), _mean("cut_tuned")),
    "assertiveness": Number("style", "Assertiveness, boosters − hedges", "per 100 words", _change("assertive"), pair="assertive", items="prompts"),
    "unhedged_wrong": Number("style", "Wrong without a hedge, open questions", CHANGE, _share_change("unhedged_wrong"), pair="unhedged_wrong", items="questions"),
    "degeneration": Number("style", "Newly degenerate answers, empty or repetitive", SHARE, _newly, pair="degenerate", items="prompts"),
    "refusal": Number("refusal", "Refusals of what ought to be declined", CHANGE, _share_change("refused"), pair="refused", items="prompts"),
    "refusal_partly": Number("refusal", "… partial ones", CHANGE, _share_change("refused_partly"), pair="refused_partly"),
    "over_refusal": Number("refusal", "Refusals of harmless questions", CHANGE, _share_change("over_refused"), pair="over_refused", items="prompts"),
    "refusal_margin": Number("refusal", "Lean towards refusing, before a word is said", "nats", _change("margin"), pair="margin", items="prompts"),
    "format_validity": Number("format", "Valid JSON on the task", SHARE, _share("format_validity"), _mean("base_format_validity"), _mean("format_validity"), items="answers"),
    "format_obeyed": Number("format", "Asked for an exact form, gives it", CHANGE, _share_change("form"), pair="form", items="prompts"),
    "format_unfenced": Number("format", "… with a code fence forgiven", CHANGE, _share_change("form_loose"), pair="form_loose"),
    "facts_lost": Number("knowledge", "Facts lost, right → wrong, net", CHANGE, _share_change("right", -1), pair="right", items="facts"),
    "flips": Number("knowledge", "Facts answered differently", SHARE, _share("flipped")),
    "brier": Number("calibration", "Brier score, facts", "change", _change("brier"), pair="brier", items="facts"),
    "overconfidence": Number("calibration", "Over-confidence, confidence − accuracy, facts", "change", _overconfident, _overconfidence("base"), _overconfidence("tuned"), items="facts"),
    "ece": Number("calibration", "Calibration error, facts", "change", _ece, _ece_of("base"), _ece_of("tuned")),
    "confident_wrong": Number("calibration", "Wrong and at least 90 % sure, facts", CHANGE, _share_change("sure_wrong"), pair="sure_wrong", items="facts"),
    "entropy": Number("calibration", "Entropy of the choice, facts", "nats", _change("entropy"), pair="entropy"),
    "task_confident_wrong": Number("calibration", "Wrong and at least 90 % sure, task", CHANGE, _task_sure_wrong, _task_value("base_"), _task_value("")),
    "disagreement": Number("calibration", "Several answers to one question differ", CHANGE, _share_change("disagreement"), pair="disagreement"),
    "fragility": Number("robustness", "Answer changes with the phrasing", CHANGE, _share_change("fragile"), pair="fragile", items="facts"),
    "worst_phrasing": Number("robustness", "Right in every phrasing", CHANGE, _share_change("worst_right"), pair="worst_right"),
    "memorisation": Number("memory", "Trained examples told from unseen ones (0.5: not)", "AUC", _auc, items="examples"),
    "memory_gap": Number("memory", "Loss gained on trained beyond unseen examples", NATS, _gap, items="examples"),
    "exact_match": Number("task", "Task: exact match", SHARE, _share("exact_match"), _mean("base_exact_match"), _mean("exact_match")),
    "exact_match_gain": Number("task", "Task: gain over the base", CHANGE, _gain),
    "overlap": Number("task", "Task: overlap with the reference", "F1", _items("overlap"), _mean("base_overlap"), _mean("overlap")),
    "dominance": Number("process", "Largest voice in an update, 95th percentile", SHARE, _top("dominance"), items="updates"),
    "weight_change": Number("diagnosis", "Weights moved, ‖ΔW‖/‖W‖", "mean of matrices", _items("weight_change")),
    "intruders": Number("diagnosis", "Intruder dimensions in the top ten", "per matrix", _items("intruders")),
    "first_token_time": Number("speed", "Time to the first token", "tuned/base", _medians("first_token_seconds"), pair="first_token_seconds"),
    "token_time": Number("speed", "Time per further token", "tuned/base", _medians("token_seconds"), pair="token_seconds"),
    "answer_memory": Number("speed", "Memory while answering", "tuned/base", _medians("peak_bytes"), pair="peak_bytes"),
}  # fmt: skip


def number(key: str) -> Number:
    """Of the card, or a person's own probe (own-NAME)."""
    if key.startswith("own-"):
        return Number("own", key.removeprefix("own-"), CHANGE, _share_change(key), pair=key)
    return CARD[key]
