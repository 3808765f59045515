"""The remedies that may bring a run inside its budget, in the order of their cost. Takes a recipe, gives recipes. Pure.

dose           a share of the adapter; nothing is trained
smaller steps  a third of the rate, half the length, or the run's own last checkpoint that was inside
anchor         a pull towards the base, its own answers replayed, or both
where          upper layers only, attention only, half the rank

Whatever a remedy is, a share of its adapter may be taken besides: the ladder looks for the largest that is inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.planning.rates import rounded
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import words_of

# The first values that were tried; bench/inside.py shows what they gave, and no other values were compared.
PULL, REPLAY = 1.0, 0.25
AS_IT_IS = "as it is"
TITLES = {
    "dose": "A share of the adapter",
    "smaller steps": "Smaller steps",
    "anchor": "Held to the base",
    "where": "In fewer places",
}


@dataclass(frozen=True)
class Remedy:
    """`what` in words, as it stands in tables."""

    what: str
    recipe: Recipe


@dataclass(frozen=True)
class Rung:
    """`trained`: whether its remedies have to be trained at all."""

    name: str
    title: str
    remedies: tuple[Remedy, ...]
    trained: bool = True


@dataclass(frozen=True)
class Places:
    """Where an adapter sits: the number of the model's layers, and the endings of its attention modules' names."""

    layers: int
    attention: tuple[str, ...]


def places_of(modules: Sequence[str]) -> Places:
    """By the names of the modules that have an adapter (PEFT's target_modules)."""
    numbers = [int(part) for name in modules for part in name.split(".")[:-1] if part.isdigit()]
    attention = sorted({name.rsplit(".", 1)[-1] for name in modules if "attn" in name or "attention" in name})
    return Places(max(numbers, default=-1) + 1, tuple(attention))


def _layers(layers: Sequence[int]) -> str:
    return f"layers {layers[0]} to {layers[-1]}" if len(layers) > 1 else f"layer {layers[0]}"


def held_by(recipe: Recipe) -> str:
    """The remedies that a recipe has already, in words; empty where it has none."""
    told = [f"{k} {getattr(recipe, k):g}" for k in ("kl_weight", "replay_share") if getattr(recipe, k)]
    if recipe.stop_at_step:
        told.append(f"the checkpoint of step {recipe.stop_at_step}")
    if layers := recipe.layers_to_transform:
        told.append(_layers(layers))
    if recipe.target_modules != "all-linear":
        modules = recipe.target_modules
        told.append(f"{modules if isinstance(modules, str) else ', '.join(modules)} only")
    return ", ".join([*told, *([f"{recipe.adapter_scale:g} of the adapter"] if recipe.adapter_scale != 1 else [])])


def ladder(recipe: Recipe, places: Places, earlier: int | None = None) -> tuple[Rung, ...]:
    """All rungs for this run; a remedy that it has already is left out. `earlier`: a step at which it was inside."""
    adapter = recipe.method != "full"
    whole = recipe.whole
    rungs = [
        ("dose", (Remedy(AS_IT_IS, whole),) if adapter else ()),
        ("smaller steps", _smaller(whole, earlier)),
        ("anchor", _anchored(whole) if words_of(whole.task).anchored else ()),
        ("where", _where(whole, places) if adapter else ()),
    ]
    return tuple(Rung(k, TITLES[k], some, trained=k != "dose") for k, some in rungs if some)


def _smaller(recipe: Recipe, earlier: int | None) -> tuple[Remedy, ...]:
    lower = rounded(recipe.learning_rate / 3)
    remedies = [Remedy(f"learning_rate {lower:g}", recipe.but(learning_rate=lower))]
    if recipe.stop_at_step:
        half = None  # it ends before its schedule already
    elif recipe.max_steps > 0:
        half, words = recipe.but(max_steps=max(1, recipe.max_steps // 2)), f"{max(1, recipe.max_steps // 2)} steps"
    else:
        half = recipe.but(num_train_epochs=recipe.num_train_epochs / 2)
        words = half.length
    if half:
        remedies.append(Remedy(words, half))
    if earlier:
        remedies.append(Remedy(f"the checkpoint of step {earlier}", recipe.but(stop_at_step=earlier)))
    return tuple(remedies)


def _anchored(recipe: Recipe) -> tuple[Remedy, ...]:
    wanted = [{"kl_weight": PULL}, {"replay_share": REPLAY}, {"kl_weight": PULL, "replay_share": REPLAY}]
    return tuple(
        Remedy(", ".join(f"{k} {v:g}" for k, v in way.items()), recipe.but(**way))
        for way in wanted
        if any(getattr(recipe, k) < v for k, v in way.items())
    )


def _where(recipe: Recipe, places: Places) -> tuple[Remedy, ...]:
    remedies = []
    if recipe.layers_to_transform is None and places.layers >= 2:
        upper = list(range(places.layers // 2, places.layers))
        remedies.append(Remedy(_layers(upper), recipe.but(layers_to_transform=upper)))
    if recipe.target_modules == "all-linear" and places.attention:
        remedies.append(Remedy("attention only", recipe.but(target_modules=list(places.attention))))
    if recipe.r >= 2:
        half = recipe.but(r=recipe.r // 2, lora_alpha=recipe.lora_alpha / 2)  # the same scale
        remedies.append(Remedy(f"r {half.r}", half))
    return tuple(remedies)
