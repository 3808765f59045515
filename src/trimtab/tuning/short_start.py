"""What a study starts from where its time is too short for the plan: fewer epochs, rarer evaluations, smaller batches.
Takes the planned recipe and the clock, gives a recipe and why, in a sentence. Times passes, and never trains.
"""

from __future__ import annotations

from collections.abc import Collection

from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.tuning.desk import Desk
from trimtab.tuning.neighbours import LEAST_STEPS, short, with_batch, with_epochs
from trimtab.tuning.study_cost import ROOM, affordable_epochs
from trimtab.tuning.time_left import SEEDS, TimeLeft

EVALUATING = 0.25  # of a run's time; where evaluations would take more, it is evaluated less often
SELDOM = {0.5: "at half and at the end", 1.0: "at their end"}
CHEAP = 1.25  # times what a unit of size costs in the planned passes: at 2 instead of 8 examples 1.13 to 1.24 without
# quick kernels, 1.34 and (beside other work) up to 2.5 with them
FEWEST = 2  # examples in a step


def affordable(desk: Desk, time: TimeLeft, recipe: Recipe, own: Collection[str]) -> tuple[str, Recipe]:
    """The plan, or a shorter one; a person's own settings (`own`) are never touched."""
    if time.limit is None or "num_train_epochs" in own or "max_steps" in own:
        return f"Start: {short(recipe)}.", recipe
    epochs = _length(time, recipe)
    if epochs >= recipe.num_train_epochs:
        return f"Start: {short(recipe)}.", recipe
    told = []
    for seldom, when in SELDOM.items():
        if "eval_steps" not in own and recipe.eval_steps < seldom and _evaluating(time, recipe, epochs) > EVALUATING:
            recipe = recipe.but(eval_steps=seldom)
            told = [f"Runs are evaluated {when} only, or much of the time would go into that."]
    examples = time.pace().examples
    shorter = with_epochs(recipe, _length(time, recipe), examples, own)
    if not {"per_device_train_batch_size", "gradient_accumulation_steps"}.intersection(own):
        shorter = _more_steps(desk, time, shorter, own)
    if shorter.effective_batch < recipe.effective_batch:
        rate = "" if "learning_rate" in own else ", and the rate with its square root"
        told.append(
            f"The effective batch falls from {recipe.effective_batch} to {shorter.effective_batch} for the sake of"
            f" enough steps{rate}."
        )
    told.insert(
        0,
        f"The rule asks for {recipe.num_train_epochs:g} epochs; a study of that length does not fit into"
        f" {in_words(time.limit)}, so it starts from {shorter.num_train_epochs:g}.",
    )
    return " ".join([*told, f"Start: {short(shorter)}."]), shorter


def _length(time: TimeLeft, recipe: Recipe) -> float:
    return affordable_epochs(recipe, time.left() - time.card_seconds(), time.pace(), SEEDS)


def _evaluating(time: TimeLeft, recipe: Recipe, epochs: float) -> float:
    return time.pace().evaluating(recipe.but(num_train_epochs=epochs))


def _more_steps(desk: Desk, time: TimeLeft, recipe: Recipe, own: Collection[str]) -> Recipe:
    """The batch halved while there are too few steps, as long as a smaller pass costs little more here."""
    dear = CHEAP * _cost(desk, recipe)
    while recipe.steps(time.pace().examples) < LEAST_STEPS and recipe.effective_batch > FEWEST:
        smaller = with_batch(recipe, recipe.effective_batch // 2, own)
        if _cost(desk, smaller) > dear:
            break
        recipe = smaller.but(num_train_epochs=min(recipe.num_train_epochs, _length(time, smaller)))
    return recipe


def _cost(desk: Desk, recipe: Recipe) -> float:
    """Seconds for a unit of size in passes as large as this recipe's: timed once a study."""
    known, micro = desk.tune_facts.timed, recipe.per_device_train_batch_size
    assert known
    if micro not in known.paces:
        pace = ROOM * desk.local.seconds_per_size(recipe)
        known = known.model_copy(update={"others": {**known.others, micro: pace}})
        desk.keep(timed=known.model_dump())
    return known.paces[micro]
