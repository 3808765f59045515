"""The coach: plan -> learning rate -> batch -> epochs -> (rank, decay) -> seeds -> card -> recommendation. Decides,
and never trains.

Takes a desk (who trains, the store) and what was asked; every decision is stored once with its evidence and said in
one sentence. Started again, it finds its decisions and runs in the store and goes on where it was. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trimtab.errors import SpecError
from trimtab.planning.facts import Facts
from trimtab.planning.interactions import of_recipe
from trimtab.planning.plan import make_plan
from trimtab.planning.rates import rounded
from trimtab.spec.budget import level_needed
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import LEVELS, Cause, Level
from trimtab.spec.study import Timed, TuneFacts
from trimtab.tuning.choice import Outcome, choose, still_falling
from trimtab.tuning.desk import Desk
from trimtab.tuning.neighbours import ALSO, FACTOR, edge, scan, short, why_further, with_batch, with_epochs
from trimtab.tuning.race import Race
from trimtab.tuning.run_state import groups_of
from trimtab.tuning.study_cost import ROOM, Pace, affordable_epochs
from trimtab.tuning.summary import summary, verdict_sentence

EXTENSIONS = 2
ENOUGH = 5000  # of a size (tokens) that runs passed, from which on their pace is better than a timing
SEEDS = 3
MOST_SEEDS = 5  # where --time leaves room: the interval shrinks with every one


class Coach:
    """Walks a tune study from its plan to its recommendation; started again, it goes on."""

    def __init__(self, desk: Desk, seconds: float | None, own: Mapping[str, Any], also: Sequence[str] = ()):
        """`seconds`: how long all of it may take; `own`: a person's settings; `also`: what to try besides rate,
        batch and epochs, of neighbours.ALSO."""
        self.desk, self.limit, self.own, self.also = desk, seconds, dict(own), also

    @property
    def facts(self) -> TuneFacts:
        facts = self.desk.row.facts
        assert isinstance(facts, TuneFacts)
        return facts

    def run(self) -> dict[str, Any]:
        """The recommendation, as stored: recipe, runs, gain, verdict."""
        recipe = self._plan()
        if "learning_rate" not in self.own:
            recipe = self._learning_rates(recipe)
            if not self._inside("learning_rate"):  # nothing that follows could be recommended
                return self._recommend([recipe])
        if not {"per_device_train_batch_size", "gradient_accumulation_steps"} & self.own.keys():
            recipe = self._batches(recipe)
        if not {"num_train_epochs", "max_steps"} & self.own.keys():
            recipe = self._epochs(recipe)
        recipe = self._others(recipe)
        return self._recommend(self._confirm(recipe))

    # the steps

    def _plan(self) -> Recipe:
        facts = self._once("facts", lambda: vars(self.desk.local.facts()))
        plan = make_plan(Facts.of(facts), {**self.own, "trainer": "trimtab"}, self.desk.local.forecaster())
        recipe = plan.trainable()
        self._once("plan", plan.as_rows)
        self._once("warnings", lambda: list(plan.warnings))
        self.plan = plan
        data = self._once("data", lambda: self.desk.local.describe_data(recipe))
        if self._stored("plan") is None:
            for line in self.desk.local.table_lines(data):
                self.desk.say(line)
        self._once("base", self.desk.local.measure_base)
        self._once("timed", lambda: self._timed(recipe))
        self.desk.tick()
        if done := self._decided("plan"):
            return done
        sentence, recipe = self._affordable(recipe)
        self._need_time(recipe)
        start = self._decide("plan", sentence, recipe, [])
        for risk in self._once("couplings", lambda: self._risks(start)):
            self.desk.say(f"A risk of this start ({risk['sure']}): {risk['when']}; {risk['may']}.")
        return start

    def _affordable(self, recipe: Recipe) -> tuple[str, Recipe]:
        """What the study starts from, in a sentence: the plan, or a shorter one where time is short."""
        if self.limit is None or {"num_train_epochs", "max_steps"} & self.own.keys():
            return f"Start: {short(recipe)}.", recipe
        epochs = affordable_epochs(recipe, self._left() - self._card_seconds(), self._pace())
        if epochs >= recipe.num_train_epochs:
            return f"Start: {short(recipe)}.", recipe
        sentence = (
            f"The rule asks for {recipe.num_train_epochs:g} epochs; a study of that length does not fit into "
            f"{in_words(self.limit)}, so it starts from {epochs:g}. "
        )
        examples = self._known("facts")["examples"]
        shorter = with_epochs(recipe, epochs, examples, self.own)
        if shorter.effective_batch < recipe.effective_batch:
            sentence += (
                f"The effective batch falls from {recipe.effective_batch} to {shorter.effective_batch} for the sake of "
                "enough steps, and the rate with its square root. "
            )
        return sentence + f"Start: {short(shorter)}.", shorter

    def _risks(self, recipe: Recipe) -> list[dict[str, Any]]:
        return [asdict(c) for c in of_recipe(recipe.model_dump(), self.plan.facts, self.plan.settings)]

    def _need_time(self, recipe: Recipe) -> None:
        """One run and its card are the least that a study is."""
        need = self._pace().seconds([recipe]) + self._card_seconds(1)
        if self.limit is not None and need > self._left():
            whole = need + self.limit - self._left()
            # what was timed in a bad moment must not refuse the next try
            self.desk.store.update_study(self.desk.study, seconds=0.0, facts={"timed": None, "base": None})
            raise SpecError(
                "--time",
                [
                    f"{in_words(self.limit)} are too short: one run and its card take about {in_words(whole)} here,"
                    " start included; give at least that, better several times as much"
                ],
            )

    def _learning_rates(self, start: Recipe) -> Recipe:
        if done := self._decided("learning_rate"):
            return done
        rates = scan(start.learning_rate, self.plan.disagreeing())
        # the race stops losers from half of the steps on: three rates cost about two and a half runs
        if not self._once("scan_fits", lambda: self._fits([start], self._pace().seconds([start]) * 1.5)):
            return self._skip_to(
                "learning_rate", f"{', '.join(f'{r:g}' for r in rates)} were not compared", start, rates
            )
        outcomes = self._reopened(self._race([start.but(learning_rate=r) for r in rates]))
        for _ in range(EXTENSIONS):
            choice = choose(outcomes, "learning_rate")
            inside = choice.winner.eligible
            further = edge(choice.winner.recipe.learning_rate, rates) if inside else rounded(min(rates) / FACTOR)
            if further is None or (inside and choice.tied):  # a flat curve has no edge: beyond it lies more noise
                break
            candidate = start.but(learning_rate=further)
            if not self._fits([candidate], self._confirm_cost(choice.winner.recipe)):
                self._skip(
                    "learning_rate, one step further",
                    f"{why_further(choice.winner, inside)}, and {further:g} was not tried",
                    [choice.winner.recipe.learning_rate, further],
                )
                break
            self.desk.say(f"{why_further(choice.winner, inside)}: trying {further:g}")
            rates.append(further)
            outcomes += self._race([candidate], outcomes)
        choice = choose(outcomes, "learning_rate")
        return self._decide(
            "learning_rate", choice.sentence, choice.winner.recipe, choice.evidence, choice.winner.eligible
        )

    def _batches(self, best: Recipe) -> Recipe:
        """Half and double the effective batch; the rate follows with the square root."""
        sizes = [b for b in (best.effective_batch // 2, best.effective_batch * 2) if b >= 1]
        candidates = [with_batch(best, b, self.own) for b in sizes]
        return self._tried(
            "batch", "effective batch", f"effective batch {' and '.join(map(str, sizes))}", candidates, best
        )

    def _others(self, best: Recipe) -> Recipe:
        """What a person asked for besides: rank, decay."""
        for place in self.also:
            setting, around = ALSO[place]
            candidates = around(best)
            values = " and ".join(f"{getattr(c, setting):g}" for c in candidates)
            best = self._tried(place, setting, f"{setting} {values}", candidates, best)
        return best

    def _tried(self, place: str, setting: str, what: str, candidates: Sequence[Recipe], best: Recipe) -> Recipe:
        """These against the best so far, raced, where there is time."""
        if done := self._decided(place):
            return done
        if not self._fits(candidates, self._confirm_cost(best)):
            return self._skip_to(place, f"{what} were not tried", best, [r.model_dump(mode="json") for r in candidates])
        reference = self.desk.trainer.train([best], reopen=True)  # another study may have stopped it
        choice = choose(reference + self._race(candidates, reference), setting)
        return self._decide(place, choice.sentence, choice.winner.recipe, choice.evidence)

    def _epochs(self, best: Recipe) -> Recipe:
        """Twice the length with patience; or, where the best evaluation came early, just that length."""
        if done := self._decided("epochs"):
            return done
        evaluations = self.desk.store.evaluations(best.run_id)
        place = min(evaluations, key=lambda e: e["loss"])["share"] if evaluations else 1.0
        factor = 2.0 if place == 1.0 else place
        patience = self.own.get("early_stopping_patience", 2)
        other = best.but(num_train_epochs=best.num_train_epochs * factor, early_stopping_patience=patience)
        if not self._fits([other], self._confirm_cost(other)):
            hint = (
                "; the loss was still falling at the end, so more epochs may help"
                if factor > 1 and still_falling([e["items"] for e in evaluations])
                else ""
            )
            length = other.num_train_epochs
            return self._skip_to("epochs", f"{length:g} epochs were not tried{hint}", best, [length])
        choice = choose(
            self.desk.trainer.train([best], reopen=True) + self.desk.trainer.train([other], reopen=True),
            "num_train_epochs",
        )
        return self._decide("epochs", choice.sentence, choice.winner.recipe, choice.evidence)

    def _confirm(self, best: Recipe) -> list[Recipe]:
        """The same recipe with other seeds: three, up to five where time is left; the first is already there."""
        count = SEEDS if self.limit is None else MOST_SEEDS
        wanted = [best.but(seed=(best.seed + i) % 2**31) for i in range(count)]
        if decided := self._stored("seeds"):
            recipes = wanted[: decided["evidence"]["seeds"]]
        else:
            recipes = wanted
            while len(recipes) > 1 and not self._fits(recipes[1:], 0, len(recipes)):
                recipes = recipes[:-1]
            note = (
                ""
                if len(recipes) >= SEEDS
                else f"; {SEEDS - len(recipes)} more did not fit into the time, so the gain is not confirmed"
            )
            self._write(
                "seeds",
                f"Confirm with {len(recipes)} seed{'s' if len(recipes) > 1 else ''}{note}.",
                {"seeds": len(recipes)},
            )
        self.desk.trainer.train(recipes, reopen=True)
        self.desk.tick()
        return recipes

    def _recommend(self, recipes: Sequence[Recipe]) -> dict[str, Any]:
        outcomes = self.desk.trainer.train(recipes)  # finished: only looked up
        numbers = self.desk.local.measure_task(recipes)
        base = self._known("base")
        able = [o for o in outcomes if o.eligible] or outcomes
        # The median seed by validation loss, of two the worse: the best one would promise more than the recipe holds.
        chosen = sorted(able, key=lambda o: o.loss)[len(able) // 2].recipe
        card = self.desk.local.card(chosen, self._card_level())
        self.desk.tick()
        groups = groups_of(self.desk.store.run(chosen.run_id), "test")
        result = summary(chosen, outcomes, numbers, base, card, SEEDS, groups)
        result["couplings"] = self._risks(chosen)
        sentence = verdict_sentence(result, card)
        self._write("recommendation", sentence, result)
        self.desk.finish(recommendation=result)
        return result

    # running and deciding

    def _race(self, recipes: Sequence[Recipe], finished: Sequence[Outcome] = ()) -> list[Outcome]:
        outcomes = self.desk.trainer.train(
            recipes, Race(tuple(o.recipe.run_id for o in finished if o.eligible), self.desk.tick)
        )
        self.desk.tick()
        return outcomes

    def _reopened(self, outcomes: list[Outcome]) -> list[Outcome]:
        """When the front runners left the budget, those they had beaten go on where they were stopped."""
        beaten = [o.recipe for o in outcomes if o.cause == Cause.RACE and o.breach is None]
        if not beaten or any(o.eligible for o in outcomes):
            return outcomes
        self.desk.say(
            f"The front runners left the budget: {', '.join(r.run_id for r in beaten)} go on where they were stopped"
        )
        again = {o.recipe.run_id: o for o in self.desk.trainer.train(beaten, reopen=True)}
        self.desk.tick()
        return [again.get(o.recipe.run_id, o) for o in outcomes]

    def _decide(
        self, place: str, sentence: str, recipe: Recipe, table: list[dict[str, Any]], inside: bool = True
    ) -> Recipe:
        self._write(place, sentence, {"recipe": recipe.model_dump(mode="json"), "table": table, "inside": inside})
        return recipe

    def _inside(self, place: str) -> bool:
        """Whether what was decided there stays inside the budget."""
        step = self._stored(place)
        return step is None or step["evidence"].get("inside", True)

    def _skip_to(self, place: str, what: str, recipe: Recipe, untried: Sequence[Any]) -> Recipe:
        evidence = {"recipe": recipe.model_dump(mode="json"), "table": [], "inside": True, "untried": list(untried)}
        self._write(place, f"Skipped for lack of time: {what}.", evidence)
        return recipe

    def _skip(self, place: str, what: str, untried: Sequence[float]) -> None:
        self._write(place, f"Skipped for lack of time: {what}.", {"untried": list(untried)})

    def _write(self, place: str, sentence: str, evidence: dict[str, Any]) -> None:
        if self._stored(place) is None:
            self.desk.store.decide(self.desk.study, place, sentence, evidence)
            self.desk.say(sentence)
        self.desk.tick()

    def _stored(self, place: str) -> dict[str, Any] | None:
        return next((d for d in self.desk.store.decisions(self.desk.study) if d["place"] == place), None)

    def _decided(self, place: str) -> Recipe | None:
        decision = self._stored(place)
        return Recipe.model_validate(decision["evidence"]["recipe"]) if decision else None

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        """What is found out once per study: looked up, or made and kept."""
        if getattr(self.facts, key) is None:
            self.desk.keep(**{key: make()})
        return getattr(self.facts, key)

    def _known(self, key: str) -> Any:
        """What an earlier step has found out."""
        value = getattr(self.facts, key)
        assert value is not None, f"{key} is not known yet"
        return value

    # time

    def _timed(self, recipe: Recipe) -> dict[str, Any]:
        """Of this recipe's micro-batches; evaluations are in it by the room that is left."""
        facts = Facts.of(self._known("facts"))
        micro, pace = recipe.per_device_train_batch_size, self.desk.local.seconds_per_size(recipe) * ROOM
        return Timed(per_size=pace, size=facts.size, examples=facts.examples, micro=micro).model_dump()

    def _left(self) -> float:
        return math.inf if self.limit is None else self.limit - self.desk.seconds()

    def _pace(self) -> Pace:
        """Timed at the start; as soon as there are runs, by what they took (evaluations and checkpoints included)."""
        known = self._known("timed")
        paces = {known.micro: known.per_size}
        done = [r for r in self.desk.store.runs(self.desk.study) if r.result.get("size")]
        for micro in {r.recipe.per_device_train_batch_size for r in done}:
            same = [r.result for r in done if r.recipe.per_device_train_batch_size == micro]
            size, seconds = sum(r["size"] for r in same), sum(r["seconds"] for r in same)
            if size > ENOUGH:
                paces[micro] = ROOM * seconds / size
        return Pace(paces, known.size, known.examples)

    def _fits(self, recipes: Sequence[Recipe], reserve: float, seeds: int = SEEDS) -> bool:
        return self._pace().seconds(recipes) + reserve + self._card_seconds(seeds) <= self._left()

    def _confirm_cost(self, recipe: Recipe) -> float:
        """With some room: three seeds are worth more than a step that is tried."""
        return 1.2 * self._pace().seconds([recipe] * (SEEDS - 1))

    def _card_seconds(self, seeds: int = SEEDS) -> float:
        """Task answers of the seeds and one card, by what the base model's task answers took."""
        base = self._known("base")
        return 1.2 * (seeds * base["answer_seconds"] + base["card_seconds"][self._card_level()])

    def _card_level(self) -> Level:
        """The whole card, unless it would take more than a fifth of the time that is allowed; never less than what the
        budget's hard limits ask for."""
        whole = self._known("base")["card_seconds"]["card"]
        if self.limit is None or whole <= self.limit / 5:
            return "card"
        budget = self.desk.row.asked.budget
        return max("short", level_needed(budget) if budget else "short", key=LEVELS.index)
