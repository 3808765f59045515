"""The coach: plan -> learning rate -> batch -> epochs -> (rank, decay), and then tuning/confirmation.py: seeds -> card
-> remedies -> recommendation. Decides, and never trains.

Takes a desk (who trains, the store) and what was asked; every decision is stored once with its evidence and said in
one sentence. Started again, it finds its decisions and runs in the store and goes on where it was. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trimtab.errors import SpecError
from trimtab.planning.facts import Facts
from trimtab.planning.interactions import of_recipe
from trimtab.planning.plan import make_plan
from trimtab.planning.rates import rounded
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause
from trimtab.spec.words import words_of
from trimtab.store.rows import best_of
from trimtab.tuning.choice import Outcome, choose, still_falling
from trimtab.tuning.confirmation import Confirmation
from trimtab.tuning.decisions import Decisions
from trimtab.tuning.desk import Desk
from trimtab.tuning.neighbours import ALSO, FACTOR, edge, scan, why_further, with_batch
from trimtab.tuning.race import Race
from trimtab.tuning.short_start import affordable
from trimtab.tuning.study_cost import LENGTHS, timed
from trimtab.tuning.time_left import TimeLeft
from trimtab.tuning.trainer import Trainer

EXTENSIONS = 2


class Coach:
    """Walks a tune study from its plan to its recommendation; started again, it goes on."""

    def __init__(
        self,
        desk: Desk,
        seconds: float | None,
        own: Mapping[str, Any],
        also: Sequence[str] = (),
        free: Callable[[], Trainer] | None = None,
    ):
        """`seconds`: how long all of it may take; `own`: a person's settings; `also`: what to try besides rate,
        batch and epochs, of neighbours.ALSO; `free` gives who trains remedies, see Confirmation."""
        self.desk, self.own, self.also, self.free = desk, dict(own), also, free
        self.decisions, self.time = Decisions(desk), TimeLeft(desk, seconds)

    def run(self) -> dict[str, Any]:
        """The recommendation, as stored: recipe, runs, gain, verdict."""
        recipe = self._plan()
        if "learning_rate" not in self.own:
            recipe = self._learning_rates(recipe)
            if not self._inside("learning_rate"):  # nothing that follows could be recommended
                return self._ending().recommend([recipe])
        if not {"per_device_train_batch_size", "gradient_accumulation_steps"} & self.own.keys():
            recipe = self._batches(recipe)
        if not {"num_train_epochs", "max_steps"} & self.own.keys():
            recipe = self._epochs(recipe)
        return self._ending().run(self._others(recipe))

    def _ending(self) -> Confirmation:
        return Confirmation(self.desk, self.decisions, self.time, self._risks, self.free)

    # the steps

    def _plan(self) -> Recipe:
        facts = self._once("facts", lambda: vars(self.desk.local.facts()))
        if self.time.limit is not None and self.desk.tune_facts.base is None:
            self._need_at_least(self.time.limit, Facts.of(facts))
        plan = make_plan(Facts.of(facts), {**self.own, "trainer": "trimtab"}, self.desk.local.forecaster())
        recipe = plan.trainable()
        self._once("plan", plan.as_rows)
        self._once("warnings", lambda: list(plan.warnings))
        self.plan = plan
        data = self._once("data", lambda: self.desk.local.describe_data(recipe))
        if self.decisions.stored("plan") is None:
            for line in self.desk.local.table_lines(data):
                self.desk.say(line)
        self._once("base", lambda: self.desk.local.measure_base(recipe))
        self._once("timed", lambda: timed(self.desk.local, recipe, data).model_dump())
        self.desk.tick()
        if done := self.decisions.recipe("plan"):
            return done
        sentence, recipe = affordable(self.desk, self.time, recipe, self.own)
        self._need_time(recipe)
        start = self._decide("plan", sentence, recipe, [])
        for risk in self._once("couplings", lambda: self._risks(start)):
            self.desk.say(f"A risk of this start ({risk['sure']}): {risk['when']}; {risk['may']}.")
        return start

    def _risks(self, recipe: Recipe) -> list[dict[str, Any]]:
        return [asdict(c) for c in of_recipe(recipe.model_dump(), self.plan.facts, self.plan.settings)]

    def _need_at_least(self, limit: float, facts: Facts) -> None:
        """Before anything runs: what no study of this model can be quicker than, were the machine at its peak
        throughout."""
        size = LENGTHS[-1] * facts.size * 3 + words_of(facts.task).least_size  # a pass back costs two forward
        least = 2 * facts.parameters * size / self.desk.local.flops()
        if limit < least:
            raise SpecError(
                "--time",
                [
                    f"{in_words(limit)} are too short: one short run, its answers and the least of a card"
                    f" take more than {in_words(least)} here, were this machine never idle; give several times as much"
                ],
            )

    def _need_time(self, recipe: Recipe) -> None:
        """One run and its card are the least that a study is."""
        need = self.time.pace().seconds([recipe]) + self.time.card_seconds(1)
        if self.time.limit is not None and need > self.time.left():
            whole = need + self.time.limit - self.time.left()
            # what was timed in a bad moment must not refuse the next try
            self.desk.store.update_study(self.desk.study, seconds=0.0, facts={"timed": None, "base": None})
            raise SpecError(
                "--time",
                [
                    f"{in_words(self.time.limit)} are too short: one run and its card take about {in_words(whole)}"
                    " here, start included; give at least that, better several times as much"
                ],
            )

    def _learning_rates(self, start: Recipe) -> Recipe:
        if done := self.decisions.recipe("learning_rate"):
            return done
        rates = scan(start.learning_rate, self.plan.disagreeing())
        # The race stops losers from half of the steps on: three rates cost about two and a half runs. A gain that is
        # confirmed is worth more than a rate that was compared.
        reserve = self.time.pace().seconds([start]) * 1.5 + self.time.confirm_cost(start)
        if not self._once("scan_fits", lambda: self.time.fits([start], reserve)):
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
            if not self.time.fits([candidate], self.time.confirm_cost(choice.winner.recipe)):
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
        if done := self.decisions.recipe(place):
            return done
        if not self.time.fits(candidates, self.time.confirm_cost(best)):
            return self._skip_to(place, f"{what} were not tried", best, [r.model_dump(mode="json") for r in candidates])
        reference = self.desk.trainer.train([best], reopen=True)  # another study may have stopped it
        choice = choose(reference + self._race(candidates, reference), setting)
        return self._decide(place, choice.sentence, choice.winner.recipe, choice.evidence)

    def _epochs(self, best: Recipe) -> Recipe:
        """Twice the length with patience; or, where the best evaluation came early, just that length."""
        if done := self.decisions.recipe("epochs"):
            return done
        evaluations = self.desk.store.evaluations(best.run_id)
        kept = best_of(evaluations)
        place = kept["share"] if kept else 1.0
        factor = 2.0 if place == 1.0 else place
        patience = self.own.get("early_stopping_patience", 2)
        other = best.but(num_train_epochs=best.num_train_epochs * factor, early_stopping_patience=patience)
        if not self.time.fits([other], self.time.confirm_cost(other)):
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
        evidence = {"recipe": recipe.model_dump(mode="json"), "table": table, "inside": inside}
        self.decisions.write(place, sentence, evidence)
        return recipe

    def _inside(self, place: str) -> bool:
        """Whether what was decided there stays inside the budget."""
        return bool((self.decisions.evidence(place) or {}).get("inside", True))

    def _skip_to(self, place: str, what: str, recipe: Recipe, untried: Sequence[Any]) -> Recipe:
        evidence = {"recipe": recipe.model_dump(mode="json"), "table": [], "inside": True, "untried": list(untried)}
        self.decisions.write(place, f"Skipped for lack of time: {what}.", evidence)
        return recipe

    def _skip(self, place: str, what: str, untried: Sequence[float]) -> None:
        self.decisions.write(place, f"Skipped for lack of time: {what}.", {"untried": list(untried)})

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        """What is found out once per study: looked up, or made and kept."""
        if getattr(self.desk.tune_facts, key) is None:
            self.desk.keep(**{key: make()})
        return getattr(self.desk.tune_facts, key)

    def _known(self, key: str) -> Any:
        """What an earlier step has found out."""
        value = getattr(self.desk.tune_facts, key)
        assert value is not None, f"{key} is not known yet"
        return value
