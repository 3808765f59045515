"""From a run outside its budget to one inside, at the least cost. Takes a desk, a run's recipe and a budget; gives the
rungs that were tried and what is recommended. Decides, and never trains. No torch.

A remedy's strength is set on one half of the probes (`Local.side`: drift, the lean towards declining and refusals on
prompts that no card asks) and judged on the other, the card. Both are kept. Every card is one more chance to be inside
by luck, so they share the 5 % as the looks at a study do: the first remedy that is judged may spend half of it, each
further one half as much as the one before. The walk ends at the first rung that is inside by its card and keeps nine
tenths of the gain; what is recommended is the cheapest that is inside with that much, else the one inside that keeps
most, else nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from trimtab.analysis import stats
from trimtab.analysis.card import breach
from trimtab.analysis.effects import ALPHA, spent
from trimtab.analysis.number_intervals import INTERVALS
from trimtab.errors import StoreError
from trimtab.planning.remedies import AS_IT_IS, Places, Remedy, Rung, ladder, places_of
from trimtab.spec.budget import Budget, Limit
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Level, Verdict
from trimtab.spec.study import InsideFacts, TuneFacts
from trimtab.spec.words import words_of
from trimtab.store import Store
from trimtab.tuning.decisions import Decisions
from trimtab.tuning.desk import Desk
from trimtab.tuning.ladder_sentences import result_sentence, rung_sentence, start_sentence, unmeasurable
from trimtab.tuning.time_left import TimeLeft

KEEP = 0.9  # of the unconstrained gain: enough to stop looking further
# The tuning side has two dozen requests and three dozen prompts, so its numbers must lie well inside. A choice: how
# often what is inside here is inside by the card was not measured (docs/inside.md).
WELL_INSIDE = 0.5
STEP = 0.05  # shares of an adapter are looked for this finely, from this one up
HALVINGS = 3  # cards of one remedy at most


@dataclass(frozen=True)
class Tried:
    """A remedy at the share that the tuning side allows; None where even the smallest is outside there."""

    remedy: Remedy
    recipe: Recipe | None
    side: Mapping[str, float]


class Ladder:
    """`places` as planning/remedies.py reads them off an adapter; `seconds`: how long all work at this desk may take;
    `level`: the card that judges."""

    def __init__(
        self,
        desk: Desk,
        recipe: Recipe,
        budget: Budget,
        places: Places,
        seconds: float | None = None,
        level: Level = "card",
    ):
        self.desk, self.recipe, self.budget, self.places = desk, recipe, budget, places
        self.time, self.level = TimeLeft(desk, seconds), level
        self.decisions, self.base = Decisions(desk), self._base()

    def run(self) -> dict[str, Any]:
        """{"start", "rungs": [{"name", "title", "rows", "note"}], "recommended", "sentence", …} as kept."""
        start = self._start()
        rungs: list[dict[str, Any]] = []
        if not start["inside"] and not unmeasurable(start):
            for rung in self._rungs():
                rungs.append(self.decisions.evidence(f"inside: {rung.name}") or self._walk(rung, start))
                if any(r["inside"] and _enough(r) for r in rungs[-1]["rows"]):
                    break
        result = self._result(start, rungs)
        self.desk.say(result["sentence"])
        self.desk.finish(result=result) if self.desk.row.kind == "inside" else self.desk.tick()
        return result

    def price(self) -> float:
        """Seconds of the whole walk, where nothing is known yet."""
        return sum(self._need(rung) for rung in self._rungs())

    def fits(self) -> bool:
        """Whether it has begun, or there is time for one step of it."""
        begun = self.decisions.stored("inside: start")
        return bool(begun) or self.least() <= self.time.left()

    def least(self) -> float:
        """Seconds of its cheapest step."""
        return min((self._need(r) for r in self._rungs()), default=math.inf)

    def _rungs(self) -> tuple[Rung, ...]:
        """Once the run is trained: an earlier checkpoint is that of the last evaluation before its end at which its
        pulse lay inside the budget."""
        looks = self.desk.store.evaluations(self.recipe.whole.run_id)[:-1]
        best = self.desk.store.run(self.recipe.whole.run_id).result.get("best_step") or math.inf  # what is handed over
        before = [e["step"] for e in looks if e["step"] < best and not breach(e["pulse"], self.budget)]
        earlier = max(before, default=None)
        return ladder(self.recipe, self.places, earlier)

    # one rung

    def _walk(self, rung: Rung, start: Mapping[str, Any]) -> dict[str, Any]:
        """Trains its remedies, sets their strength on one half of the probes, asks the card of the most promising."""
        row: dict[str, Any] = {"name": rung.name, "title": rung.title, "rows": [], "note": None}
        if (need := self._need(rung)) > self.time.left():
            row |= {"note": f"not tried: it would take about {in_words(need)}", "need": need}
            self.desk.say(f"{rung.title}: {row['note']}")
            return row  # not kept: with more time it is tried
        self.desk.say(f"{rung.title}: {', '.join(r.what for r in rung.remedies)}")
        tried = [self._strength(remedy) for remedy in self._trained(rung)]
        self._hand_over(tried)
        rows, looks = [self._row(t) for t in tried], self._looks()
        for place in sorted(range(len(rows)), key=lambda i: -_gained(rows[i])):
            if _gained(rows[place]) <= 0:
                break
            judged = self._judged_down(tried[place], rows[place], looks)
            looks += len(judged)
            rows += judged[:-1]
            rows[place] = judged[-1]
            if rows[place]["inside"]:
                break
        untrained: dict[str, Any] = {} if rung.trained else {"seconds": 0.0}
        row["rows"] = [r | {"kept": _kept(r, start)} | untrained for r in rows]
        self.decisions.write(f"inside: {rung.name}", rung_sentence(row), row)
        return row

    def _hand_over(self, tried: Sequence[Tried]) -> None:
        """Shares of what was trained become runs; nothing is trained for them."""
        self.desk.trainer.train([t.recipe for t in tried if t.recipe and t.recipe.adapter_scale != 1], reopen=True)

    def _judged_down(self, tried: Tried, row: dict[str, Any], looks: int) -> list[dict[str, Any]]:
        """By the card; and half the share again where it is outside by a number alone that the tuning side does not
        know, so that nothing said so before. The last is what stands."""
        assert tried.recipe
        judged = [row | self._judged(tried, looks + 1)]
        while not judged[-1]["inside"] and tried.recipe.method != "full" and len(judged) < HALVINGS:
            unknown = {k for k, n in judged[-1]["numbers"].items() if n["hard"] and n["verdict"] != Verdict.PASS}
            share = round(tried.recipe.adapter_scale / 2 / STEP) * STEP
            if unknown & tried.side.keys() or share < STEP:
                break
            smaller = tried.recipe.but(adapter_scale=round(share, 2))
            tried = replace(tried, recipe=smaller, side=self._side(smaller))
            self._hand_over([tried])
            judged.append(self._row(tried) | self._judged(tried, looks + len(judged) + 1))
        return judged

    def _looks(self) -> int:
        """Remedies that a card has judged in the steps before."""
        steps = [self.decisions.evidence(f"inside: {rung.name}") for rung in self._rungs()]
        return sum(bool(r["numbers"]) for step in steps if step for r in step["rows"])

    def _trained(self, rung: Rung) -> list[Remedy]:
        """Those that could be trained; a dose is of what there is."""
        if not rung.trained:
            return list(rung.remedies)
        recipes = [r.recipe for r in rung.remedies]
        outcomes = self.desk.trainer.train(recipes, reopen=True)
        self.desk.tick()
        known = {o.recipe.run_id for o in outcomes if o.items}
        return [r for r in rung.remedies if r.recipe.run_id in known]

    def _strength(self, remedy: Remedy) -> Tried:
        """The largest share of its adapter that the tuning side calls inside, to a twentieth, by bisection."""
        self.desk.say(f"Looking for the largest share of {_adapter_of(remedy)} that lies well inside")
        whole = self._side(remedy.recipe)
        if remedy.recipe != self.recipe and self._well_inside(whole):  # of the run itself the card knows better
            return Tried(remedy, remedy.recipe, whole)
        if remedy.recipe.method == "full":
            return Tried(remedy, None, whole)
        low, high, best = 1, round(1 / STEP), None
        while low < high:  # invariant: `high` twentieths are outside, and `low - 1` inside if they were looked at
            middle = (low + high) // 2
            share = remedy.recipe.but(adapter_scale=round(middle * STEP, 2))
            side = self._side(share)
            if self._well_inside(side):
                best, low = Tried(remedy, share, side), middle + 1
            else:
                high = middle
        return best or Tried(remedy, None, whole)

    def _side(self, recipe: Recipe) -> dict[str, float]:
        return self._values(self.desk.local.side(recipe))

    def _values(self, raw: Mapping[str, Any]) -> dict[str, float]:
        """Of the budget's numbers those that the tuning side knows."""
        values = {key: INTERVALS[key].interval(raw) for key in self.budget.limits if key in INTERVALS}
        return {key: interval.value for key, interval in values.items() if interval}

    def _well_inside(self, side: Mapping[str, float]) -> bool:
        """Every limit that this side knows, with room to spare."""
        for key, value in side.items():
            limit = self.budget.limits.get(key)
            if limit and limit.max is not None and value > WELL_INSIDE * limit.max:
                return False
            if limit and limit.min is not None and value < WELL_INSIDE * limit.min:
                return False
        return True

    # what a run is worth

    def _start(self) -> dict[str, Any]:
        if stored := self.decisions.evidence("inside: start"):
            return stored
        recipe = self.recipe  # as it stands, also where the budget had stopped it: a tune has judged these weights
        raw = self.desk.local.side(recipe) if recipe.method != "full" else {}
        tried = Tried(Remedy(AS_IT_IS, recipe), recipe, self._values(raw))
        row = self._row(tried) | self._judged(tried)
        row |= {
            "kept": _kept(row, row),
            "declines": stats.average(raw["refused_base"]) if raw.get("refused_base") else None,
        }
        self.decisions.write("inside: start", start_sentence(recipe.run_id, self.budget.name, row), row)
        return row

    def _row(self, tried: Tried) -> dict[str, Any]:
        """What is known before a card: gain at the task, and the tuning side's numbers."""
        row: dict[str, Any] = {
            "what": _what(tried), "recipe": None, "run": None, "side": dict(tried.side), "gain": None,
            "metric": None, "inside": False, "verdict": None, "numbers": {}, "kept": None,
            "seconds": self._trained_for(tried.remedy.recipe),
        }  # fmt: skip
        if tried.recipe is None:
            return row
        run = tried.recipe.run_id
        metric = self.base["metric"]
        numbers = self.desk.local.measure_task([tried.recipe])[run][metric]
        self.desk.tick()
        gain = stats.paired_shares(numbers, self.base["numbers"][metric])
        return row | {
            "recipe": tried.recipe.model_dump(mode="json"), "run": run, "metric": stats.average(numbers),
            "gain": gain and vars(gain),
        }  # fmt: skip

    def _trained_for(self, recipe: Recipe) -> float | None:
        """Seconds of training; a share of an adapter adds none."""
        seconds = self.desk.store.run(recipe.whole.run_id).result.get("seconds")
        return None if seconds is None else float(seconds)

    def _judged(self, tried: Tried, look: int = 0) -> dict[str, Any]:
        """By the card: the half of the probes that set nothing. `look`: the how many-th remedy of the walk it is; 0:
        the run itself."""
        assert tried.recipe
        card = self.desk.local.card(tried.recipe, self.level, whole=look > 0)  # of many cards each has wider bounds
        self.desk.tick()
        numbers = {r["number"]: judged_at(r, look) for r in card["rows"] if r["verdict"]}
        hard = [n for n in numbers.values() if n["hard"]]
        inside = bool(hard) and all(n["verdict"] == Verdict.PASS for n in hard)
        return {"verdict": card["verdict"], "inside": inside, "look": look, "numbers": numbers}

    # the end

    def _result(self, start: dict[str, Any], rungs: list[dict[str, Any]]) -> dict[str, Any]:
        inside = [r for rung in rungs for r in rung["rows"] if r["inside"] and _shown_to_gain(r)]
        most = sorted(inside, key=lambda r: -r["gain"]["value"])
        best: dict[str, Any] | None = ([r for r in inside if _enough(r)] or most or [None])[0]
        if start["inside"]:
            best = start if _shown_to_gain(start) else None
        words = words_of(self.recipe.task)
        return {
            "kind": "inside",
            "question": f"What brings {self.recipe.run_id} inside {self.budget.name}, and at what price?",
            "start": start,
            "rungs": rungs,
            "recommended": best,
            "base": stats.average(self.base["numbers"][self.base["metric"]]),
            "metric_title": words.metrics.get(self.base["metric"], self.base["metric"]),
            "words": words.shown(),
            "sentence": result_sentence(self.recipe.run_id, self.budget.name, start, rungs, best),
        }

    # keeping and time

    def _base(self) -> dict[str, Any]:
        facts = self.desk.row.facts
        assert isinstance(facts, InsideFacts | TuneFacts)
        if facts.base is None:
            self.desk.keep(base=self.desk.local.measure_base(self.recipe))
            facts = self.desk.row.facts
            assert isinstance(facts, InsideFacts | TuneFacts)
        assert facts.base
        return facts.base

    def _need(self, rung: Rung) -> float:
        """By what the run itself took; a card and task answers for each remedy's share."""
        run = self.desk.store.run(self.recipe.whole.run_id)
        took, steps = float(run.result.get("seconds") or 0.0), run.total_steps or 1
        size = float(run.result.get("size") or 0.0) / steps
        trained = sum(took * _effort(r.recipe, run.recipe, steps, size) for r in rung.remedies) if rung.trained else 0.0
        return trained + len(rung.remedies) * self.base["answer_seconds"] + 1.5 * self.base["card_seconds"][self.level]


def _effort(recipe: Recipe, of: Recipe, steps: int, size: float) -> float:
    """How much longer a remedy trains than the run of so many steps of this size: its rows and length, and a pass over
    the anchor once a step; half as long again where the size is not known."""
    rows = recipe.rows(1000) / of.rows(1000)
    by_steps = recipe.max_steps > 0
    length = recipe.max_steps / max(1, of.max_steps) if by_steps else recipe.num_train_epochs / of.num_train_epochs
    share = recipe.stop_at_step / steps if recipe.stop_at_step else 1.0
    pulled = 1 + (words_of(recipe.task).pull_size / size if size else 0.5) if recipe.pull else 1.0
    return rows * length * min(1.0, share) * pulled


def _what(tried: Tried) -> str:
    if tried.recipe is None:
        return _adapter_of(tried.remedy)
    share = tried.recipe.adapter_scale
    if share == 1:
        return tried.remedy.what
    return f"{share:g} of the adapter" + ("" if tried.remedy.what == AS_IT_IS else f" of {tried.remedy.what}")


def _adapter_of(remedy: Remedy) -> str:
    return "the adapter" if remedy.what == AS_IT_IS else remedy.what


def _kept(row: Mapping[str, Any], start: Mapping[str, Any]) -> float | None:
    """Share of the unconstrained gain; None where there was none."""
    whole = start["gain"]["value"] if start["gain"] else 0.0
    return row["gain"]["value"] / whole if row["gain"] and whole > 0 else None


def judged_at(row: Mapping[str, Any], look: int) -> dict[str, Any]:
    """A card's row, with the bounds that the `look`-th remedy of a walk is judged by: one-sided 95 % for the run itself
    (0), 97.5 % for the first, then half of the chance to be wrong each time. Wider in proportion, as normal bounds
    are."""
    kept = {k: row[k] for k in ("title", "unit", "value", "below", "above", "verdict", "hard", "limit")}
    if row.get("lasting"):
        kept["missing"] = row["missing"]
    if not look or row["value"] is None or row["below"] is None or row["above"] is None:
        return kept
    wider = NormalDist().inv_cdf(1 - spent(look)) / NormalDist().inv_cdf(1 - ALPHA)
    below, above = (row["value"] + wider * (row[side] - row["value"]) for side in ("below", "above"))
    return kept | {"below": below, "above": above, "verdict": Limit.model_validate(row["limit"]).judge(below, above)}


def _gained(row: Mapping[str, Any]) -> float:
    return float(row["gain"]["value"]) if row["gain"] else -math.inf


def _shown_to_gain(row: Mapping[str, Any]) -> bool:
    return bool(row["gain"]) and row["gain"]["low"] > 0


def _enough(row: Mapping[str, Any]) -> bool:
    """Most of the unconstrained gain; where there was none, any gain that is shown."""
    return _shown_to_gain(row) and (row["kept"] is None or row["kept"] >= KEEP)


def places_of_run(store: Store, run: str) -> Places:
    """Of the adapter that the run left; of a model that was trained whole, none. StoreError where it left nothing."""
    best = store.folder / "runs" / run / "best"
    if not best.exists():
        status = store.run(run).status.lower()
        raise StoreError(f"run {run} has left no weights ({status}); train it first: trimtab train")
    config = best / "adapter_config.json"
    return places_of(json.loads(config.read_text())["target_modules"] if config.exists() else [])


def rows_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every remedy that was looked at, the run itself first."""
    return [result["start"], *(r for rung in result["rungs"] for r in rung["rows"])]
