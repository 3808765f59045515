"""What a card measured -> rows with an interval and a verdict against a budget. Pure; what is missing never passes.

`measured` is {"raw": values by item, "floor": the base against itself, "missing": number -> why, "seconds", "level",
"language"}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from trimtab.analysis import stats
from trimtab.analysis.deciding import items_to_show, to_decide
from trimtab.analysis.intervals import Raw
from trimtab.analysis.looks import ANSWERS, Looks, sets_of, so_many, tails_of
from trimtab.analysis.number_intervals import INTERVALS, shown
from trimtab.analysis.stats import Interval
from trimtab.probes.prompts import KL_PROMPTS, OTHERS, generic_prompts
from trimtab.spec.budget import Budget, Limit
from trimtab.spec.numbers import CLASS, NUMBERS, OWN, Number, number_of
from trimtab.spec.status import LEVELS, Level, Verdict
from trimtab.spec.words import LANGUAGE, Words

Measured = Mapping[str, Any]


def judge(measured: Measured, budget: Budget) -> dict[str, Any]:
    """{"verdict", "rows": [...]}: one row a number, in the card's order, as JSON values."""
    raw = measured["raw"]
    own = [k.removesuffix("_tuned") for k in raw if k.startswith(OWN) and k.endswith("_tuned") and "_loose" not in k]
    keys = [*_with_classes(raw), *dict.fromkeys([*own, *(k for k in budget.limits if k.startswith(OWN))])]
    rows = [_row(number_of(key), measured, budget) for key in keys if _wanted(key, measured, budget)]
    return {
        "budget": budget.model_dump(mode="json"),
        "rows": rows,
        "verdict": overall(rows),
        "level": measured.get("level"),
        "language": measured.get("language"),
        "asked": asked(measured.get("looks", {})),
        "seconds": measured.get("seconds", {}),
        "notes": measured.get("notes", []),
    }


def asked(looks: Looks) -> dict[str, int]:
    """How many questions were asked and how many there are; nothing of a card that asked a fixed number."""
    sets = [seen for name, seen in looks.items() if name != ANSWERS]
    return {"questions": sum(map(so_many, sets)), "of": sum(s["of"] for s in sets)} if sets else {}


def overall(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """FAIL when a hard limit fails, SOFT FAIL when only soft ones do; PASS when every limit passes; NOT MEASURED when
    all that were measured pass; else UNDECIDED."""
    limited = [r for r in rows if r["verdict"]]
    failed = [r for r in limited if r["verdict"] == Verdict.FAIL]
    if failed:
        return Verdict.FAIL if any(r["hard"] for r in failed) else Verdict.SOFT_FAIL
    states = {r["verdict"] for r in limited}
    if Verdict.UNDECIDED in states:
        return Verdict.UNDECIDED
    return Verdict.PASS if states == {Verdict.PASS} else Verdict.NOT_MEASURED


# A pulse's number -> the card's whose limit it is held to, times so much: its prompts are the shortest and its tokens
# the first, so it reads higher (docs/budget.md). A limit on the pulse's own number comes before.
PULSE_OF = {"kl_pulse": ("kl_generic", 1.5)}


def pulse_limit(key: str, budget: Budget) -> Limit | None:
    """What a number of a pulse is held to."""
    card, times = PULSE_OF.get(key, ("", 1.0))
    if key in budget.limits or card not in budget.limits:
        return budget.limits.get(key)
    theirs = budget.limits[card]
    return theirs.model_copy(update={"max": theirs.max and theirs.max * times, "min": None})


def seen_by(pulse: Raw, budget: Budget) -> list[tuple[str, Limit, Interval]]:
    """The hard limits that a pulse can judge, each with its number's interval."""
    judged = []
    for key in dict.fromkeys([*PULSE_OF, *budget.limits]):
        limit = pulse_limit(key, budget)
        interval = INTERVALS[key].interval(pulse) if limit and limit.hard and key in INTERVALS else None
        if limit and interval:
            judged.append((key, limit, interval))
    return judged


def breach(pulse: Raw, budget: Budget) -> str | None:
    """Why this pulse FAILs a hard limit, as a sentence; None while it does not."""
    for key, limit, interval in seen_by(pulse, budget):
        if limit.judge(interval.below, interval.above) == Verdict.FAIL:
            card, times = PULSE_OF.get(key, ("", 1.0))
            derived = "" if key in budget.limits else f" ({times:g} times that of {card}: pulses read higher)"
            return (
                f"{key} is {interval.value:.3g} {number_of(key).unit} (at least {interval.below:.3g} with 95 %"
                f" confidence), outside the budget's {limit.text()}{derived}"
            )
    return None


def left_budget(pulses: Sequence[Raw], budget: Budget) -> str | None:
    """Why a run with these pulses, in order, is outside: two breaches in a row. None while it is inside."""
    for before, why in pairwise([breach(p, budget) for p in pulses]):
        if before and why:
            return f"budget breached at two evaluations in a row: {why}"
    return None


def drift_of(pulse: Raw, words: Words = LANGUAGE) -> float | None:
    """Mean drift of a pulse, where one was taken."""
    values = pulse.get(words.drift.key) if words.drift else None
    return stats.average(values) if values else None


def prompts_needed(budget: Budget, others: int = OTHERS, asked: int = 0) -> int:
    """As many generic prompts, besides `others`, that the limit on degeneration can be shown of a harmless model; at
    least as many as a person `asked` for."""
    limit = budget.limits.get("degeneration")
    if limit is None or limit.max is None:
        return max(KL_PROMPTS, asked)
    need, every = items_to_show(BROKEN_BY_CHANCE, limit.max), len(generic_prompts())
    return min(every, max(KL_PROMPTS, asked, (need or every + others) - others))


BROKEN_BY_CHANCE = 0.014  # of a small model's answers, in the worst harmless runs of bench/calibration.py


FEWEST = 5  # items, below which an interval is not worth its name


def measured_enough(
    measured: Measured,
    budget: Budget,
    level: Level = "pulse",
    own: Sequence[str] = (),
    prompts: int = 0,
    whole: bool = False,
) -> bool:
    """Whether a card that was measured for another budget, or with fewer prompts, can be judged against this one.
    `whole`: with every question asked."""
    if "raw" not in measured or LEVELS.index(measured["level"]) < LEVELS.index(level):
        return False
    probes = {*own, *(k.removeprefix(OWN) for k in budget.limits if k.startswith(OWN))}
    known = all(f"{OWN}{p}_tuned" in measured["raw"] for p in probes)
    if measured["level"] == "pulse" or not known:
        return known
    if len(measured["raw"].get("cut_tuned", ())) < prompts:
        return False
    looks = measured.get("looks", {})
    if looks and not whole:
        return not unfinished(measured, budget)
    answers = len(measured["raw"].get("degenerate_tuned", ()))
    stopped = [name for name, seen in looks.items() if name not in (ANSWERS, "generic") and _could_go_on(seen)]
    return answers >= prompts_needed(budget, 0) and not stopped


def unfinished(measured: Measured, budget: Budget) -> set[str]:
    """Question sets that a number needs and that are not at their end, as where time was."""
    return {name for name in still_open(measured, budget) if _could_go_on(measured.get("looks", {}).get(name))}


def _could_go_on(seen: Any) -> bool:
    """Whether some of these questions have not been asked."""
    return bool(seen) and so_many(seen) < seen["of"]


def _with_classes(raw: Raw) -> list[str]:
    """The card's numbers, and after the label that lost most all labels."""
    labels = [k.removesuffix("_tuned") for k in raw if k.startswith(CLASS) and k.endswith("_tuned")]
    place = list(NUMBERS).index("label_worst_class") + 1
    return [*list(NUMBERS)[:place], *labels, *list(NUMBERS)[place:]]


def _wanted(key: str, measured: Measured, budget: Budget) -> bool:
    """Numbers that were measured, are limited or have a reason to be missing. An optional limit on JSON means nothing
    without JSON answers, one on labels nothing without labels, and to a classifier nothing but those applies. A limit
    that a person wrote never vanishes: what is not there is NOT MEASURED."""
    raw, group = measured["raw"], number_of(key).group
    if number_of(key).needs == "a pulse":  # taken while training: on a card only where somebody limits it
        return key in budget.limits
    if key in budget.limits and not budget.limits[key].optional and not measured.get("classifier"):
        return True
    if key == "format_validity":
        return bool(raw.get("format_validity"))
    there = shown(key).interval(raw) is not None
    if group == "labels" and not raw.get("label_right_tuned"):
        return there
    if measured.get("classifier") and group not in ("labels", "own"):
        return there
    return there or key in budget.limits or key in measured.get("missing", {})


def _row(n: Number, measured: Measured, budget: Budget) -> dict[str, Any]:
    key, made, raw, looks = n.key, shown(n.key), measured["raw"], measured.get("looks", {})
    why = measured.get("missing", {}).get(key) or (LATE if _never_asked(n, looks) else None)
    tails, limit = tails_of(n.asked_by, looks), budget.limits.get(key)
    interval = None if why else by_people(key, measured) or made.interval(raw, tails)
    if interval and limit and interval.n < FEWEST:
        why = f"only {interval.n} {n.items}: at least {FEWEST} are needed for an interval"
        interval = None
    verdict = limit and limit.judge(interval.below if interval else None, interval.above if interval else None)
    known = {side: interval and _finite(getattr(interval, side)) for side in ("value", "low", "high", "below", "above")}
    return {
        "number": key,
        "group": n.group,
        "title": n.title,
        "unit": n.unit,
        "base": made.base(raw),
        "tuned": made.tuned(raw),
        **known,
        "n": interval.n if interval else 0,
        "floor": _floor(key, measured),
        "seed_sd": n.seed_sd,
        "no_interval": NO_INTERVAL if interval and key.endswith("ece") else None,
        "missing": why,
        "lasting": key in measured.get("lasting", ()),  # for want of something that no run of this model has
        "by_people": interval is not None and by_people(key, measured) is not None,
        "limit": limit and limit.model_dump(mode="json"),
        "hard": bool(limit and limit.hard),
        "verdict": verdict,
        "judged_by": judged_by(interval, limit, verdict) if interval and limit and verdict else None,
        "to_decide": to_decide(n, interval, limit, why) if limit and verdict in OPEN else None,
    }


OPEN = (Verdict.UNDECIDED, Verdict.NOT_MEASURED)
LATE = "the time was over before it was asked: the same card without a time asks on"


def _never_asked(n: Number, looks: Looks) -> bool:
    """Whether none of its questions has been asked, of those that there are to ask."""
    sets = sets_of(n.asked_by)
    return bool(sets) and all(name in looks and not looks[name]["asked"] for name in sets)


def still_open(measured: Measured, budget: Budget) -> list[str]:
    """The question sets that have to go on, what tells most first: of limited numbers whose bounds lie across the
    limit, and of those that nothing is known of yet. While the verdict is open hard limits come first; where a hard
    one is broken the unknown ones do, and no soft one is asked on: it changes nothing."""
    judged = judge(measured, budget)
    failed, looks = judged["verdict"] == Verdict.FAIL, measured.get("looks", {})
    rank: dict[str, tuple[int, bool]] = {}
    for r in judged["rows"]:
        unknown = r["verdict"] == Verdict.NOT_MEASURED
        if r["verdict"] not in OPEN or r["number"] in measured.get("missing", {}):
            continue
        if failed and not (r["hard"] or unknown):
            continue
        first = unknown if failed else r["hard"]
        for name in sets_of(number_of(r["number"]).asked_by):
            begun = bool(looks.get(name, {}).get("asked"))
            rank[name] = min(rank.get(name, (2, True)), (0 if first else 1 if unknown else 2, begun))
    return sorted(rank, key=lambda name: rank[name])


def asked_first(budget: Budget) -> frozenset[str]:
    """The question sets of hard limits, of several for one number the first: a card without them is none."""
    return frozenset(s for k, limit in budget.limits.items() if limit.hard for s in sets_of(number_of(k).asked_by)[:1])


NO_INTERVAL = "no interval is honest: in bins of a few dozen items a calibrated model has an error of a few points too"


def judged_by(interval: Interval, limit: Limit, verdict: Verdict) -> str:
    """The one-sided 95 % bound that decided, as in "at most 0.052"; both where neither side did alone."""
    if verdict == Verdict.UNDECIDED or (limit.max is not None and limit.min is not None):
        return f"{interval.below:.3g} to {interval.above:.3g}"
    upper = (limit.max is not None) == (verdict == Verdict.PASS)
    return f"at most {interval.above:.3g}" if upper else f"at least {interval.below:.3g}"


# Detectors that people can correct: the number, the probe that was labelled, the raw values.
CORRECTED = {"refusal": ("refusable", "refused"), "over_refusal": ("alarming", "over_refused")}
LABELS = 40  # prompts labelled on both sides, from which on the correction is better than the detector alone


def by_people(key: str, measured: Measured) -> Interval | None:
    """The change of a rate by the detector on every prompt, corrected by labels on some (PPI++); None with too few
    of them."""
    probe, name = CORRECTED.get(key, ("", ""))
    if not measured.get("labels") or f"{name}_place" not in measured["raw"]:
        return None
    raw, said = (
        measured["raw"],
        {(r["place"], r["side"]): r["label"] for r in measured["labels"] if r["probe"] == probe},
    )
    detected = {
        int(i): t - b for i, b, t in zip(raw[f"{name}_place"], raw[f"{name}_base"], raw[f"{name}_tuned"], strict=True)
    }
    labelled = [i for i in detected if (i, "base") in said and (i, "tuned") in said]
    if len(labelled) < LABELS:
        return None
    labels = [said[i, "tuned"] - said[i, "base"] for i in labelled]
    others = [d for i, d in detected.items() if i not in set(labelled)]
    return stats.corrected(labels, [detected[i] for i in labelled], others)


def _floor(key: str, measured: Measured) -> dict[str, float] | None:
    """What the number is where nothing was changed: the base against itself, and with tiny noise on its weights."""
    floors = {name: shown(key).interval(raw) for name, raw in (measured.get("floor") or {}).items()}
    return {name: i.value for name, i in floors.items() if i} or None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
