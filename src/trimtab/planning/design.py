"""A question about settings -> the runs that answer it. Takes a recipe and what to vary, gives cells and seeds;
trains nothing.

The first cell is the baseline, the recipe as it is; the others differ from it in what they are named after. Every
cell is run with the same seeds, so that cells can be compared pair by pair.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.errors import SpecError, did_you_mean
from trimtab.planning.rates import batch_factor, rounded
from trimtab.spec.recipe import Recipe
from trimtab.spec.study import DesignKind
from trimtab.spec.yaml_file import check, read_value

Scale = Literal["sqrt", "linear", "none"]
EFFECTIVE = "effective_batch"
# What `ablate --without` takes away: the setting's value without it.
WITHOUT: dict[str, dict[str, Any]] = {
    "weight_decay": {"weight_decay": 0.0},
    "warmup": {"warmup_steps": 0.0},
    "dropout": {"lora_dropout": 0.0},
    "scheduler": {"lr_scheduler_type": "constant"},
    "clipping": {"max_grad_norm": 0.0},
    "early_stopping": {"early_stopping_patience": 0},
    "augmentation": {"random_crop": 0.0, "random_flip": False, "color_jitter": 0.0, "mixup": 0.0, "cutmix": 0.0},
    "layer_rates": {"head_learning_rate": None, "layer_decay": 1.0},
    "label_smoothing": {"label_smoothing_factor": 0.0},
    "class_weight": {"class_weight": None},
}
# What no study varies, and what to do instead.
FIXED = {
    "seed": "is not varied as a setting; give --seeds", "model": "is held in a study; make one for each model",
    "data": "is held in a study; make one for each data set", "fingerprint": "is no setting",
}  # fmt: skip
RUNS = 64  # of a study, above which it has to be confirmed


@dataclass(frozen=True)
class Cell:
    """`changed`: what the cell is about, by name, empty for the baseline; `recipe` with the first seed."""

    changed: Mapping[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        """What is changed, in words."""
        return ", ".join(f"{k} {_text(v)}" for k, v in self.changed.items()) or "as it is"


@dataclass(frozen=True)
class Design:
    """`held` says in sentences what else moved, and what was kept."""

    kind: DesignKind
    question: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    held: tuple[str, ...] = ()

    @property
    def baseline(self) -> Cell:
        """The cell that others are held against."""
        return self.cells[0]

    def recipes(self) -> list[Recipe]:
        """Every cell with every seed."""
        return [self.of(cell, seed) for cell in self.cells for seed in self.seeds]

    def of(self, cell: Cell, seed: int) -> Recipe:
        """A cell's recipe with this seed."""
        return cell.recipe.but(seed=seed)


def scan(base: Recipe, levels: Mapping[str, Sequence[Any]], seeds: int) -> Design:
    """One setting at a time over its values; several settings are scanned one after another from the same baseline."""
    cells = [Cell({k: v}, with_settings(base, {k: v})) for k, values in levels.items() for v in values]
    names, every = " and ".join(levels), _distinct(base, cells)
    if len(every) < 2:
        raise SpecError("the study", [f"{names}: the recipe has this value already; give another to compare it with"])
    return Design("scan", f"Which {names} is best?", every, seeds_of(base, seeds), _held(base, cells))


def ablate(base: Recipe, without: Sequence[str], seeds: int) -> Design:
    """A against A without one part of it, for each part."""
    problems = [
        f'--without: there is no "{name}"{did_you_mean(name, list(WITHOUT))} (there are {", ".join(WITHOUT)})'
        for name in without
        if name not in WITHOUT
    ]
    off = [n for n in without if n in WITHOUT and all(getattr(base, k) == v for k, v in WITHOUT[n].items())]
    if not problems and without and len(off) == len(without):
        problems = [f"--without: {', '.join(off)}: off already, there is nothing to take away"]
    if problems or not without:
        raise SpecError(
            "trimtab study ablate", problems or [f"name what to leave out with --without: {', '.join(WITHOUT)}"]
        )
    without = [n for n in dict.fromkeys(without) if n not in off]
    held = tuple(
        f"{n} is off already ({_settings(WITHOUT[n])}), so there is nothing to take away" for n in dict.fromkeys(off)
    )
    cells = [Cell({"without": name}, base.but(**WITHOUT[name])) for name in without]
    return Design(
        "ablate", f"What do {', '.join(without)} bring?", (Cell({}, base), *cells), seeds_of(base, seeds), held
    )


def batch(base: Recipe, sizes: Sequence[int], scale: Scale, seeds: int) -> Design:
    """Effective batches; the rate follows by √k, k (both capped, see rates.batch_factor), or not at all."""
    cells = []
    for size in sizes:
        factor = batch_factor(size, base.effective_batch, "sgd" if scale == "linear" or base.optim == "sgd" else "adam")
        moved = {} if scale == "none" else {"learning_rate": rounded(base.learning_rate * factor)}
        changes = {EFFECTIVE: size, **moved}
        cells.append(Cell({EFFECTIVE: size}, with_settings(base, changes)))
    held = (
        "learning_rate is held"
        if scale == "none"
        else (
            f"learning_rate moves with the batch ({scale}, at most {batch_factor(1e9, 1):.2g} times), so the two cannot"
            " be told apart here"
        )
    )
    return Design(
        "batch",
        "Which effective batch is best?",
        _distinct(base, cells),
        seeds_of(base, seeds),
        (held, *_held(base, cells)),
    )


def factorial(base: Recipe, levels: Mapping[str, Sequence[Any]], seeds: int) -> Design:
    """Every combination of the values, and the middle of each where all settings have one: curvature shows there."""
    ways = [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]
    cells = [Cell(way, with_settings(base, way)) for way in ways]
    middle = {k: _middle(v) for k, v in levels.items()}
    if all(m is not None for m in middle.values()):
        cells.insert(0, Cell(middle, with_settings(base, middle)))
    names = ", ".join(levels)
    return Design(
        "factorial", f"How much does each of {names} matter?", tuple(cells), seeds_of(base, seeds), _held(base, cells)
    )


def repeat(base: Recipe, seeds: int) -> Design:
    """One recipe with several seeds."""
    return Design("repeat", "Is it stable over seeds?", (Cell({}, base),), seeds_of(base, seeds))


def seeds_of(base: Recipe, count: int) -> tuple[int, ...]:
    """So many, from the recipe's own upward."""
    if count < 1:
        raise SpecError("--seeds", [f"got {count}; at least 1, and 2 where a difference is to be told from seed noise"])
    return tuple((base.seed + i) % 2**31 for i in range(count))


def read_levels(base: Recipe, given: Iterable[str], fewest: int = 1) -> dict[str, list[Any]]:
    """`learning_rate=1e-4,3e-4` as typed -> values by setting, each checked; every problem in one SpecError."""
    levels: dict[str, list[Any]] = {}
    problems: list[str] = []
    for item in given:
        key, sep, text = item.partition("=")
        values = [read_value(v) for v in text.split(",") if v.strip()]
        if not sep or not values:
            problems.append(f'"{item}" is not of the form setting=value,value')
            continue
        for value in values:
            problems += wrong(base, {key: value})
        levels[key] = list(dict.fromkeys([*levels.get(key, []), *values]))
    problems += [
        f"{k}: got {_text(v)}; at least {fewest} different values are needed"
        for k, v in levels.items()
        if len(v) < fewest
    ]
    if not levels and not problems:
        problems = ["name what to vary, as in learning_rate=1e-4,3e-4"]
    if problems:
        raise SpecError("the study", list(dict.fromkeys(problems)))
    return {k: [getattr(with_settings(base, {k: v}), k) for v in values] for k, values in levels.items()}


def wrong(base: Recipe, way: Mapping[str, Any]) -> list[str]:
    """What is wrong with these settings over the recipe, in sentences."""
    if fixed := [k for k in way if k in FIXED]:
        return [f"{k} {FIXED[k]}" for k in fixed]
    if "num_train_epochs" in way and base.max_steps > 0 and "max_steps" not in way:
        return [f"num_train_epochs: has no effect while max_steps is {base.max_steps}; vary max_steps, or set it to -1"]
    if EFFECTIVE in way:
        size = way[EFFECTIVE]
        return (
            []
            if isinstance(size, int) and size >= 1
            else [f"{EFFECTIVE}: got {size!r}, must be a whole number from 1 on"]
        )
    try:
        check(Recipe, {**base.model_dump(), **way}, "")
    except SpecError as error:
        return error.problems
    return []


def with_settings(base: Recipe, way: Mapping[str, Any]) -> Recipe:
    """`effective_batch` becomes micro-batch and accumulation, at the memory of the baseline where possible."""
    rest = {k: v for k, v in way.items() if k != EFFECTIVE}
    if EFFECTIVE in way:
        micro = math.gcd(base.per_device_train_batch_size, way[EFFECTIVE])
        rest |= {"per_device_train_batch_size": micro, "gradient_accumulation_steps": way[EFFECTIVE] // micro}
    return base.but(**rest)


def _distinct(base: Recipe, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The baseline first; a value that it has already is that very cell."""
    others = [c for c in cells if c.recipe != base]
    same = next((c for c in cells if c.recipe == base), None)
    return (same or Cell({}, base), *others)


def _held(base: Recipe, cells: Sequence[Cell]) -> tuple[str, ...]:
    """With another batch at the same epochs the number of steps changes: said, since the two cannot be told apart."""
    batches = {c.recipe.effective_batch for c in cells} | {base.effective_batch}
    if len(batches) < 2:
        return ()
    if base.max_steps > 0:
        return (f"max_steps is held at {base.max_steps}, so a larger batch also sees more examples",)
    return (f"num_train_epochs is held at {base.num_train_epochs:g}, so a larger batch also takes fewer steps",)


def _middle(values: Sequence[Any]) -> Any:
    """Geometric where both ends are positive; None for what has no middle."""
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        return None
    low, high = sorted(values)
    middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
    if all(isinstance(v, int) for v in values):
        return round(middle) if low < round(middle) < high else None
    return float(f"{middle:.3g}")


def _settings(way: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {_text(v)}" for k, v in way.items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
