"""What a study will cost, said before it begins. Takes a Lab and recipes, gives a pace from a few timed micro-batches. Trains nothing."""

from __future__ import annotations

from typing import Any

from trimtab.spec.recipe import Recipe
from trimtab.tune.budgeting import Pace
from trimtab.tune.lab import Lab

ROOM = 1.15  # a timed micro-batch is quicker than one among optimizer steps and checkpoints
PULSE = 2000  # tokens of a pulse: 12 answers and 42 choices, with their prompts


def measured(lab: Lab, recipe: Recipe) -> dict[str, Any]:
    """{"per_token", "tokens", "examples", "evaluated"}, to be kept with the study: seconds a token, one epoch's size, and the tokens
    that one evaluation passes forward."""
    about, read = lab.facts(), lab.describe_data(recipe.max_length)
    held_out = read["examples"].get("validation", 0) * about.tokens / about.examples
    return {
        "per_token": lab.seconds_per_token(recipe) * ROOM,
        "tokens": about.tokens,
        "examples": about.examples,
        "evaluated": held_out + PULSE,
    }


def pace(facts: dict[str, Any], recipe: Recipe) -> Pace:
    """`facts` as measured() gives them, timed with this recipe."""
    known = {recipe.per_device_train_batch_size: facts["per_token"]}
    return Pace(known, facts["tokens"], facts["examples"], facts.get("evaluated", 0.0))
