"""Finished seeds and a card -> the recommendation, as data and as a sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.analysis import stats
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Verdict
from trimtab.spec.words import words_of
from trimtab.tuning.choice import Outcome
from trimtab.tuning.neighbours import short

# How far the result stands: never more is said than was shown.
HEADS = {
    "outside": "Nothing is recommended inside this budget; nearest",
    "worse": "Nothing is recommended: tuning lowered the score; best found",
    "no gain": "Nothing is recommended: no gain over the base model was shown; best found",
    "unconfirmed": "Not confirmed by enough seeds; best found",
    "not shown": "Better at the task; behaviour not shown to stay inside the budget; best found",
    "caution": "Recommended with caution, outside a soft limit",
    "recommended": "Recommended",
}
Numbers = Mapping[str, Sequence[float]]


def summary(
    chosen: Recipe,
    outcomes: Sequence[Outcome],
    numbers: Mapping[str, Numbers],
    base: Mapping[str, Any],
    card: Mapping[str, Any],
    wanted: int,
    groups: Sequence[int] | None = None,
    first_chose: bool = True,
) -> dict[str, Any]:
    """`base` is what the untouched model was measured with: its numbers and the task's metric. `groups`: which test
    items are near copies of each other. `first_chose`: the settings were chosen by runs of the first seed."""
    metric, untouched = base["metric"], base["numbers"]
    runs = [o.recipe.run_id for o in outcomes]
    # a seed that chose the settings has its luck in the choice: the gain is that of the others
    counted = (runs[1:] if first_chose else runs) or runs
    gains = [[a - b for a, b in zip(numbers[run][metric], untouched[metric], strict=True)] for run in counted]
    gain = stats.recipe_gain([stats.by_group(g, groups) for g in gains])
    confirmed = len(runs) >= wanted and all(o.eligible for o in outcomes)
    seeds = [_seed_row(o, numbers[o.recipe.run_id], untouched) for o in outcomes]
    return {
        "recipe": chosen.model_dump(mode="json"),
        "run": chosen.run_id,
        "runs": runs,
        "seeds": seeds,
        "over_seeds": {
            **{
                k: _bounded(stats.seeds([s[k] for s in seeds if s[k] is not None]), math.inf) for k in ("loss", "drift")
            },
            # shares by seeds and items: three seeds that agree by chance are no certainty
            **{
                k: _bounded(stats.recipe_gain([stats.by_group(numbers[run][k], groups) for run in runs]), 1.0)
                for k in untouched
                if all(k in numbers[run] for run in runs)  # of runs that an earlier version measured
            },
        },
        "metric": metric,
        "metric_title": words_of(chosen.task).metrics.get(metric, metric),
        "baseline": words_of(chosen.task).baseline,
        "base": stats.average(untouched[metric]),
        "counted": len(counted),
        "tuned": stats.average([stats.average(numbers[run][metric]) for run in counted]),
        "gain": gain and _finite(gain),
        "handed_over": stats.average(numbers[chosen.run_id][metric]),
        "confirmed": confirmed,
        "verdict": card["verdict"],
        "limits": {
            str(state): [_named(r) for r in card["rows"] if r["verdict"] == state]
            for state in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.NOT_MEASURED)
        },
        "standing": _standing(card, gain, confirmed),
    }


def _standing(card: Mapping[str, Any], gain: stats.Interval | None, confirmed: bool) -> str:
    """A key of HEADS."""
    if card["verdict"] == Verdict.FAIL:
        return "outside"
    if gain is None or not confirmed:
        return "unconfirmed"
    if gain.low <= 0:
        return "worse" if gain.high < 0 else "no gain"
    if not _hard_limits_hold(card):
        return "not shown"
    return "caution" if any(r["verdict"] == Verdict.FAIL for r in card["rows"]) else "recommended"


def _hard_limits_hold(card: Mapping[str, Any]) -> bool:
    """Asked, every one of them, and kept. Where nothing was asked, nothing was shown."""
    limited = [r for r in card["rows"] if r["verdict"]]
    return bool(limited) and all(r["verdict"] == Verdict.PASS for r in limited if r["hard"])


def seeds_counted(result: Mapping[str, Any]) -> int:
    """How many seeds the gain is of: all but the first, where that one chose the settings."""
    return int(result.get("counted") or max(1, len(result["runs"]) - 1))


def seed_in_words(result: Mapping[str, Any]) -> str:
    """Which of several seeds is handed over, by validation loss."""
    if "free" in result:
        return "the worse of the seeds that the remedies have not judged"
    if len(result["runs"]) % 2:
        return "the median seed"
    return "the worse of two seeds" if len(result["runs"]) == 2 else "the worse of the two seeds in the middle"


def way_inside(result: Mapping[str, Any]) -> str:
    """What to type to look for one."""
    return str(result.get("way") or f"trimtab inside {result['run']}")


def recommended_in_words(result: Mapping[str, Any]) -> str:
    """The first thing to say: what is recommended, if anything is."""
    head = HEADS[result["standing"]]
    if needs_no_tuning(result):
        head = f"Nothing is recommended: the {result['baseline']} does as well without tuning; best found"
    return f"{head}: {short(Recipe.model_validate(result['recipe']))}"


def needs_no_tuning(result: Mapping[str, Any]) -> bool:
    """Whether what a person has without any tuning was not shown to be beaten, over enough seeds."""
    return result["standing"] in ("no gain", "worse") and result.get("baseline", "untouched") != "untouched"


def verdict_sentence(result: Mapping[str, Any]) -> str:
    """The recommendation for someone who reads nothing else; never more than was shown."""
    gain, seeds, counted = result["gain"], len(result["runs"]), seeds_counted(result)
    span = f" [{gain['low']:+.1%}, {gain['high']:+.1%}]" if gain["low"] is not None else ""
    over = (
        f"over {counted} seed{'s' if counted > 1 else ''} that chose nothing"
        if seeds > 1
        else "with one seed, so without an interval"
    )
    limits = result["limits"]
    words = {Verdict.FAIL: "fails", Verdict.UNDECIDED: "undecided:"}
    notes = [f"{word} {', '.join(limits[state])}" for state, word in words.items() if limits[state]]
    if unmeasured := limits[Verdict.NOT_MEASURED]:
        notes.append(f"{len(unmeasured)} limited numbers not measured: trimtab card {result['run']} --level card")
    notes += _ways_inside(result)
    if seeds > 1:
        notes.append(f"measured on seed {result['recipe']['seed']}")
    return (
        f"{recommended_in_words(result)}. {result['metric_title']} {result['base']:.1%} ->"
        f" {result['tuned']:.1%}, gain {gain['value']:+.1%}{span} {over}. Budget:"
        f" {result['verdict']}{' (' + '; '.join(notes) + ')' if notes else ''}.{_without(result)}"
    )


def _ways_inside(result: Mapping[str, Any]) -> list[str]:
    """Where it is not shown to be inside: what remedies gave, or what they would cost."""
    walked = result.get("inside")
    if result["standing"] not in ("outside", "not shown") or "free" in result:
        return []
    if walked is None:
        return [f"a way inside and its price: {way_inside(result)}"]
    how = way_inside(result)
    if "rungs" not in walked:
        return [f"looking for a way inside would take about {in_words(walked['price'])}: {how}"]
    untried = _untried(walked)
    if all(r["note"] for r in walked["rungs"]):
        return [f"{untried}: {how}"]
    return [f"no remedy that was tried brings it inside{f'; {untried}: {how}' if untried else ''}"]


def _untried(walked: Mapping[str, Any]) -> str:
    titles = [r["title"].lower() for r in walked["rungs"] if r["note"]]
    return f"there was no time for {', '.join(titles)}" if titles else ""


def _without(result: Mapping[str, Any]) -> str:
    """What the same recipe gave before the remedy."""
    free = result.get("free")
    if not free:
        return ""
    broken = [_named(r) for r in free["card"] if r["hard"] and r["verdict"] == Verdict.FAIL]
    told = f" ({', '.join(broken)})" if broken else ""
    untried = _untried(result["inside"])
    rest = f" Of the remedies {untried}: {way_inside(free)}." if untried else ""
    return f" Without the remedy: gain {free['gain']['value']:+.1%}, budget {free['verdict']}{told}.{rest}"


def reasons(
    recipe: Recipe, plan: Sequence[Mapping[str, Any]], decisions: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Why each setting has the value it has: the plan's reason where the plan's value stands, else the sentence of the
    decision that made it so. `plan`: rows of Plan.as_rows; `decisions` in their order, each with evidence and sentence.
    """
    planned = {row["setting"]: row for row in plan}
    steps = [d for d in decisions if d["evidence"].get("recipe")]
    said: dict[str, str] = {}
    for name, value in recipe.model_dump(mode="json").items():
        first = before = planned[name]["value"] if name in planned else value
        if first == value:
            if name in planned:
                said[name] = planned[name]["reason"]
            continue
        for step in steps:
            now = step["evidence"]["recipe"].get(name)
            if now != before and now == value:
                said[name] = f"the study, not the plan's {first}: {step['sentence']}"
            before = now
    said |= _remedies(recipe, decisions)
    if recipe.seed != (steps[-1]["evidence"]["recipe"]["seed"] if steps else recipe.seed):
        said["seed"] = "of the seeds that were trained, the median by validation loss; of two in the middle the worse"
    return said


def _remedies(recipe: Recipe, decisions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of the settings that brought it inside, by the step of the walk that it was found in."""
    before: dict[str, Any] = {}
    for d in decisions:
        if d["place"] == "inside: start":
            before = d["evidence"]["recipe"]
        for row in d["evidence"].get("rows", []):
            same = row["inside"] and Recipe.model_validate(row["recipe"]).but(seed=recipe.seed) == recipe
            if same and before:
                changed = [k for k, v in row["recipe"].items() if before.get(k) != v]
                return dict.fromkeys(changed, f"a remedy, to stay inside the budget: {d['sentence']}")
    return {}


def _named(row: Mapping[str, Any]) -> str:
    return row["number"] if row["hard"] else f"{row['number']} (soft)"


def _seed_row(o: Outcome, numbers: Numbers, base: Numbers) -> dict[str, Any]:
    means = {k: stats.average(v) for k, v in numbers.items()}
    own = {"seed": o.recipe.seed, "run": o.recipe.run_id, "status": o.status, "loss": o.loss, "drift": o.drift}
    return {**own, **means, "base": {k: stats.average(v) for k, v in base.items()}}


def _bounded(interval: stats.Interval | None, top: float) -> dict[str, float | None] | None:
    """Kept between 0 and `top`; the bounds are None for one seed."""
    if interval is None:
        return None
    return {k: v if v is None or k == "n" else min(top, max(0.0, v)) for k, v in _finite(interval).items()}


def _finite(interval: stats.Interval) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in vars(interval).items()}
