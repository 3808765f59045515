"""How fast each parameter learns: a head's own rate, and rates that fall with depth. Takes names and a recipe, gives a
factor of the recipe's rate for each.

layer_decay as in ELECTRA and BEiT (Clark et al. 2020; Bao et al. 2021): the uppermost layer learns at the recipe's
rate, each layer below at that times the decay, embeddings one step below the first layer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch

from trimtab.errors import SpecError
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import Group

Row = dict[str, Any]


def factors(names: Sequence[str], head: Collection[str], recipe: Recipe) -> list[float]:
    """One for each name, in order. `head`: names of what no checkpoint held, which learn at head_learning_rate where
    there is one."""
    depths = depths_of([n for n in names if n not in head])
    top = max(depths.values(), default=0)
    of_head = (recipe.head_learning_rate or recipe.learning_rate) / recipe.learning_rate
    return [of_head if n in head else recipe.layer_decay ** (top - depths[n]) for n in names]


def group_of(named: Iterable[tuple[str, torch.nn.Parameter]], head: Collection[str], recipe: Recipe) -> Group:
    """All of them that learn, each once (weights may be tied), with their factors where these are not all 1.
    SpecError where nothing is left to learn."""
    once = {id(p): (n, p) for n, p in reversed(list(named))}
    kept = [(n, p) for n, p in reversed(once.values())]
    if frozen := frozen_of([n for n, _ in kept], head, recipe):
        kept = [(n, p) for n, p in kept if n not in frozen]
    names = [n for n, _ in kept]
    rates, starts = factors(names, head, recipe), starts_of(names, head, recipe)
    return Group([p for _, p in kept], rates if any(r != 1 for r in rates) else (), starts if any(starts) else ())


def by_layer(named: Iterable[tuple[str, torch.nn.Parameter]], head: Collection[str], recipe: Recipe) -> list[Row]:
    """For people, from the head down: {"name", "rate" (0: not trained), "start" (share of the run), "parameters"}."""
    sizes = {n: p.numel() for n, p in named}
    names = list(sizes)
    depths, frozen = depths_of([n for n in names if n not in head]), frozen_of(names, head, recipe)
    made: dict[int, Row] = {}
    for name, factor, start in zip(names, factors(names, head, recipe), starts_of(names, head, recipe), strict=True):
        depth = depths.get(name, MOST)
        called = "head" if depth == MOST else f"layer {depth}" if depth else "before the layers"
        rate = 0.0 if name in frozen else factor * recipe.learning_rate
        row = made.setdefault(depth, {"name": called, "rate": rate, "start": start, "parameters": 0})
        row["parameters"] += sizes[name]
    return [made[depth] for depth in sorted(made, reverse=True)]


def starts_of(names: Sequence[str], head: Collection[str], recipe: Recipe) -> list[float]:
    """The share of the run at which each begins to learn: a head and the uppermost layer at once, then one layer after
    the other (Howard and Ruder 2018)."""
    depths = depths_of([n for n in names if n not in head])
    top = max(depths.values(), default=0)
    return [0.0 if n in head else recipe.gradual_unfreezing * (top - depths[n]) for n in names]


def frozen_of(names: Sequence[str], head: Collection[str], recipe: Recipe) -> set[str]:
    """Which of them `frozen_layers` leaves untrained."""
    if not recipe.frozen_layers:
        return set()
    if recipe.head_alone and not head:
        raise SpecError("frozen_layers", ["got -1, which lets a head alone learn; this model has none of its own"])
    depths = depths_of([n for n in names if n not in head])
    top = max(depths.values(), default=0)
    most = top if recipe.frozen_layers < 0 else recipe.frozen_layers
    if most > top or (most == top and not head):
        raise SpecError(
            "frozen_layers", [f"got {recipe.frozen_layers}; the model has {top} layers, and something has to learn"]
        )
    return {n for n, depth in depths.items() if depth <= most}


def depths_of(names: Sequence[str]) -> dict[str, int]:
    """0 for what comes before the first numbered layer, the layers from 1 on, the last layer's for what comes after
    it. A network in stages counts the layers of all its stages."""
    numbered = {n: (int(found[1]), int(found[2] or MOST)) for n in names if (found := _LAYER.search(f".{n}"))}
    places = {place: i for i, place in enumerate(sorted(set(numbered.values())), 1)}
    first = next((i for i, n in enumerate(names) if n in numbered), len(names))
    return {n: places[numbered[n]] if n in numbered else 0 if i < first else len(places) for i, n in enumerate(names)}


MOST = 10**6  # what a stage has beside its layers comes after them
_LAYER = re.compile(r"\.(\d+)\.(?:(?:layers|blocks)\.(\d+)\.)?")  # a layer, or a stage and its layer
