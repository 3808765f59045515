"""The seam between a task and everything that trains, compares and shows it. Protocols alone: nothing here knows any
task.

`Learning` is what the loop and the cohort ask, `Task` what the worker, the planner and the evaluator ask besides,
`Meter` what can be measured of a task's runs. A task of a person's own is one importable class, named module:Class
in a recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trimtab.errors import SpecError
from trimtab.spec.words import Words, task_class

if TYPE_CHECKING:  # types alone: this file is below the rooms that train
    import torch

    from trimtab.datasets.encoded import Encoded
    from trimtab.planning.facts import Facts
    from trimtab.run.adapters import Adapter, Slice
    from trimtab.run.base import Base
    from trimtab.run.machine import Machine
    from trimtab.run.member import Member
    from trimtab.spec.budget import Budget
    from trimtab.spec.probe import Probe
    from trimtab.spec.recipe import Recipe
    from trimtab.store import Store

Say = Callable[[str], None]
Splits = Mapping[str, Sequence[Any]]  # examples or items by "train", "validation", "test"


class Item(Protocol):
    """One example, ready for the model; the payload is the task's own."""

    @property
    def size(self) -> int:
        """What a pass over it costs, in `Words.size` (tokens, pixels, rows); longer items are padded to."""

    @property
    def weight(self) -> int:
        """Units that it adds to the loss: label tokens, or 1 for a label. A loss is a mean over these."""

    @property
    def key(self) -> Hashable:
        """Equal for items with equal content: what was computed for one serves the other."""


class Batch(Protocol):
    """Collated items. `weights`: units of each row, in order; outputs come a row after the other, `weights[i]` of
    them for row i."""

    @property
    def rows(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def weights(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Group:
    """Parameters that lie together in memory; the rate of each is the recipe's times its factor in `rates`
    (layer-wise rates, a head's own: run/layer_rates.py), () where all are 1. `starts`: the share of the run at which
    each begins to learn, () where all begin at once."""

    parameters: Sequence[torch.nn.Parameter]
    rates: Sequence[float] = ()
    starts: Sequence[float] = ()


class Learning(Protocol):
    """What one pass over a batch is. `known_below`: a unit with less loss counts as known; `diverged_above`: a loss
    that no run which had learned something shows again, None where there is no such number."""

    words: Words
    known_below: float
    diverged_above: float | None
    peft_type: str | None  # PEFT's name of the task in an exported adapter

    def collate(self, base: Any, items: Sequence[Any], length: int | None = None) -> Batch:
        """Padded to the longest item, or to `length`, on the base's device."""

    def outputs(self, base: Any, batch: Any, slices: Sequence[Slice]) -> torch.Tensor:
        """[units, …], rows in order."""

    def unit_losses(self, outputs: torch.Tensor, batch: Any) -> torch.Tensor:
        """[units], differentiable."""

    def certainty(self, outputs: torch.Tensor, batch: Any, losses: torch.Tensor) -> list[tuple[float, float, int]]:
        """(right, sure, choice) of each row: whether the first choice is right, 1 or 0, how sure the model was of it,
        0 to 1, and the number of the label that it is (0 where there are none)."""

    def score(self, metric: str, items: Sequence[Any], evaluation: Any) -> float | None:
        """Of an evaluation, the more the better, where `metric_for_best_model` is another than the loss; None where the
        loss decides all the same."""

    def tempered(self, items: Sequence[Any], evaluation: Any, outputs: Sequence[torch.Tensor]) -> Any:
        """The evaluation at the temperature that fits these items best, where a recipe asks for temperature_scaling;
        `outputs`: by item, as `remember` gave them. A task without labels is never asked."""

    def remember(self, outputs: torch.Tensor) -> Any:
        """What `distance` needs of the base's outputs for one row, small enough to be kept."""

    def distance(self, outputs: torch.Tensor, kept: Any) -> torch.Tensor:
        """[units] how far a row's outputs lie from the base's, never below 0, differentiable."""

    def groups(self, base: Any, adapter: Adapter | None, recipe: Recipe) -> list[Group]:
        """What is trained, of an adapter or (None) of the whole model."""

    def fresh(self, base: Any, recipe: Recipe) -> dict[str, torch.Tensor]:
        """First values of the parameters that no checkpoint holds, such as a new head, by their names in the model:
        every member begins with its own and trains them whole. {} where there are none."""

    def varied(self, item: Any, recipe: Recipe, draw: str, others: Sequence[Any]) -> Any:
        """The item as it is trained on this once: itself, or one that the recipe has changed, such as a picture that
        is mirrored, or mixed with one of `others`, the whole training set. `draw` names the step and the example: the
        same draw, the same change. Size, weight and order stay as they are; what is evaluated is never varied."""

    def scaled(self, base: Any, whole: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
        """What a member trained whole, at a share of its way from where it began; what began with random values stays
        as it is."""

    def save_model(self, base: Any, folder: Path) -> None:
        """The whole model as `load_model` takes it."""

    def save_beside(self, base: Any, folder: Path) -> None:
        """Into the folder of an adapter: what is needed besides to use it, such as the names of the labels."""


class Task(Learning, Protocol):
    """`forecast`: whether its memory and time can be forecast from the model's config."""

    forecast: bool

    def read(self, data: str, say: Say) -> Any:
        """The task's own data set, with `examples` (Splits). DataError where it cannot be read or learned from."""

    def near_copies(self, examples: Sequence[Any]) -> list[int]:
        """The group of each: near copies share one, and are no independent witnesses."""

    def content(self, example: Any) -> bytes:
        """What is in an example: its part of the fingerprint."""

    def identity(self, model: str, say: Say) -> str:
        """What is behind a model's name right now: a digest of files or a commit. ModelError where nothing is."""

    def processor(self, model: str, say: Say) -> Any:
        """What turns examples into items: a tokenizer, an image processor, or None."""

    def encode(self, dataset: Any, processor: Any, recipe: Recipe) -> Encoded:
        """DataError where nothing is left to learn."""

    def table_lines(self, table: Mapping[str, Any]) -> list[str]:
        """What was read, for a terminal."""

    def load_base(
        self, model: str, dataset: Any, processor: Any, full: bool, bf16: bool, device: str, say: Say
    ) -> Base:
        """Frozen, in evaluation mode. `full`: it will be trained whole, so its weights are float32; else bfloat16
        where that is fast. `dataset`: what it will learn, as `read` gave it; None where nothing will be learned."""

    def facts(
        self, model: str, data: str, dataset: Any, processor: Any, machine: Machine, fingerprint: str, say: Say
    ) -> Facts:
        """What the rules and the clock may know: at least `examples`, and `tokens`, the size of an epoch."""

    def own_answers(self, base: Any, dataset: Any, recipe: Recipe, say: Say) -> list[Any]:
        """The untouched model's own answers, as items, to prompts that are neither the data's nor the card's: what
        kl_weight and replay_share hold a run to. SpecError where the task has none."""

    def parameters(self, model: str, say: Say) -> int:
        """Of the model, without loading it; for the space that a study needs."""

    def profile(self, dataset: Any) -> dict[str, Any] | None:
        """What kind of data it is, to compare later data with; None where the task has no such measure."""

    def texts(self, recipe: Recipe, ids: Collection[int], say: Say) -> dict[int, list[str]]:
        """What a person would read of these training examples, numbered as the run numbered them; {} where the data
        are gone."""

    def meter(
        self,
        store: Store,
        models: Models,
        dataset: Any,
        budget: Budget,
        study: str | None,
        say: Say,
        own: Sequence[Probe],
    ) -> Meter:
        """Whoever measures this task's runs."""


class Models(Protocol):
    """The loaded models that a meter asks for; see workers/model_cache.py."""

    model: str
    processor: Any

    def base(self, recipe: Recipe | None = None) -> Any: ...
    def key(self, recipe: Recipe | None = None) -> tuple[bool, bool]: ...
    def fresh(self, model: str, key: tuple[bool, bool], processor: Any) -> Any: ...
    def tuned(self, recipe: Recipe, best: Path) -> tuple[Any, Adapter | None]: ...
    def other(self, model: str) -> Any: ...


class Meter(Protocol):
    """Measures runs and keeps what it found in the store."""

    def prepare(self, recipe: Recipe) -> None:
        """Before anything can move the base of this recipe: whatever has to be known of it untouched."""

    def pulse(self, member: Member) -> dict[str, list[float]]:
        """The cheap numbers of an evaluation, by item, next to no time; among them the drift that `Words.drift`
        names, if any."""

    def lacks(self) -> dict[str, str]:
        """What behaviour numbers need (spec/numbers.csv) and this model or these data do not have -> why."""

    def measure_base(self, recipe: Recipe) -> dict[str, Any]:
        """The untouched model, as runs of this recipe begin from it: {"metric", "numbers" (by item), "answers",
        "answer_seconds", "card_seconds" (by level, at most), "first_seconds" (by level, of a card's first round, after
        which it can end)}."""

    def measure_task(self, recipes: Sequence[Recipe]) -> dict[str, dict[str, list[float]]]:
        """The task's numbers of finished runs by run id and item."""

    def card(
        self,
        recipe: Recipe,
        level: str = "card",
        language: str | None = None,
        prompts: int = 0,
        whole: bool = False,
        seconds: float = math.inf,
    ) -> dict[str, Any]:
        """The judged behaviour card of a run, measured or looked up: asked until the limited numbers are known or the
        `seconds` are over, or (`whole`) all that there is to ask; `prompts`: at least so many neutral ones. A task
        without behaviour numbers judges nothing: analysis.card.judge({"raw": {}, "level": level}, budget)."""

    def side(self, recipe: Recipe) -> dict[str, list[float]]:
        """Raw numbers of a finished run on probes that no card asks: what the strength of a remedy is set by. At the
        recipe's adapter_scale, whether or not that is a run yet."""

    def scales(self, recipe: Recipe) -> list[dict[str, Any]]:
        """An adapter at several strengths: held-out loss by example and what a pulse measures."""


@cache
def find_task(name: str) -> Task:
    """By a name of spec/words.py, or module:Class; SpecError where it cannot be found."""
    made: Task = task_class(name)()
    if lacking := [f for f in vars(Task) if not f.startswith("_") and not hasattr(made, f)]:
        raise SpecError("task", [f'"{name}" lacks {", ".join(lacking)}; tasks/task.py says what each of them gives'])
    return made
