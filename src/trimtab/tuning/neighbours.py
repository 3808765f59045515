"""The next recipes to try: other rates, batches and lengths. Pure; the user's own settings are never touched."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence

from trimtab.planning.rates import batch_factor, rounded
from trimtab.planning.remedies import held_by
from trimtab.spec.recipe import Recipe
from trimtab.tuning.choice import Outcome

FACTOR = 3.0  # between two rates of the scan: the optimum is flat, a wrong scale is not
NEAR = 1.5  # nearer than this, two rates are one: the optimum is flat
LEAST_STEPS = 100  # below this the optimum of the rate moves (tinker docs)


def scan(start: float, others: Sequence[float] = ()) -> list[float]:
    """A step of three down and up; and what disagreeing sources say, where the three are not near it already."""
    rates = [rounded(start * f) for f in (1 / FACTOR, 1, FACTOR)]
    for other in map(rounded, others):
        if all(max(other / known, known / other) > NEAR for known in rates):
            rates.append(other)
    return sorted(rates)


def edge(best: float, rates: Sequence[float]) -> float | None:
    """The next rate beyond the scan, when the best is its lowest or highest."""
    if best == max(rates):
        return rounded(best * FACTOR)
    return rounded(best / FACTOR) if best == min(rates) else None


def why_further(winner: Outcome, inside: bool) -> str:
    rate = f"{winner.recipe.learning_rate:g}"
    return f"The best rate {rate} lies at the edge of the scan" if inside else "No rate stayed inside the budget"


def with_batch(recipe: Recipe, size: int, own: Container[str] = ()) -> Recipe:
    """Another effective batch at the same memory where possible; Adam's rate follows with √, SGD's linearly."""
    micro = math.gcd(recipe.per_device_train_batch_size, size)
    other = recipe.but(per_device_train_batch_size=micro, gradient_accumulation_steps=size // micro)
    if "learning_rate" in own:
        return other
    factor = batch_factor(size, recipe.effective_batch, recipe.optim)
    return other.but(learning_rate=rounded(recipe.learning_rate * factor))


def with_epochs(recipe: Recipe, epochs: float, examples: int, own: Container[str] = ()) -> Recipe:
    """Another length, and a smaller batch (down to 8) where it would leave too few optimizer steps."""
    other = recipe.but(num_train_epochs=epochs)
    if "per_device_train_batch_size" in own or "gradient_accumulation_steps" in own:
        return other
    while other.steps(examples) < LEAST_STEPS and other.effective_batch > 8:
        other = with_batch(other, other.effective_batch // 2, own)
    return other


def ranks(recipe: Recipe) -> list[Recipe]:
    """Half and double; lora_alpha with it, so that the update's scale stays."""
    halved_and_doubled = [r for r in (recipe.r // 2, recipe.r * 2) if 1 <= r <= 1024]
    return [recipe.but(r=r, lora_alpha=recipe.lora_alpha * r / recipe.r) for r in halved_and_doubled]


def decays(recipe: Recipe) -> list[Recipe]:
    """None, a little and much; what it has already is not tried again."""
    return [recipe.but(weight_decay=d) for d in (0.0, 0.01, 0.1) if d != recipe.weight_decay]


# What is tried on request: the setting, and the recipes around one.
ALSO: dict[str, tuple[str, Callable[[Recipe], list[Recipe]]]] = {
    "rank": ("r", ranks),
    "decay": ("weight_decay", decays),
}


def short(recipe: Recipe) -> str:
    """A recipe in a few words."""
    lora = f", r {recipe.r}" if recipe.method == "lora" else ""
    held = f", {held}" if (held := held_by(recipe)) else ""
    return (
        f"{recipe.method}, learning_rate {recipe.learning_rate:g}, effective batch {recipe.effective_batch},"
        f" {recipe.length}{lora}{held}"
    )
