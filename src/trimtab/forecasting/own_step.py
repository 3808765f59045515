"""One optimizer step as trimtab's own loop takes it: the real cohort, adapters and flat optimizer over fake parameters.

Gives the events of the pass, and what a member's flat vectors weigh. Nothing of the loop is written a second time here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import nn

from trimtab.datasets.encoded import Encoded
from trimtab.datasets.label_items import Labelled
from trimtab.datasets.picture_items import Seen
from trimtab.datasets.tokens import Tokens
from trimtab.forecasting import step
from trimtab.forecasting.meter import Meter
from trimtab.forecasting.skeleton import task_of
from trimtab.forecasting.step import Times
from trimtab.forecasting.timeline import Block, Event, Place
from trimtab.run.adapters import Slice
from trimtab.run.anchor import ROWS
from trimtab.run.cohort import Cohort, Piece
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import Workload
from trimtab.tasks.classifier_base import ClassifierBase
from trimtab.tasks.image_base import ImageBase
from trimtab.tasks.image_learning import ImageLearning
from trimtab.tasks.label_learning import LabelLearning
from trimtab.tasks.language import LanguageBase


class Vector(NamedTuple):
    """What one member trains in one layer and steps together: matrices (group 0), or norms and biases (1)."""

    group: int
    layer: int | None
    numel: int


class OwnStep:
    def __init__(self, model: Any, w: Workload, meter: Meter):
        self.w, self.meter, self.stage = w, meter, "set up"
        if not w.trains_adapter:  # they move into flat vectors, which are counted at full depth (`resident`)
            meter.overlook(model.parameters())
        step.weights(model, meter)
        meter.go("set up")
        model.eval().requires_grad_(False)
        if (
            not w.padded
        ):  # a mask of ones is looked at and dropped in a real run; fake tensors have no values to look at
            model.register_forward_pre_hook(_without_mask, with_kwargs=True)
        self.base = _base(model, _Plain(w, self._backward))
        self.cohort = Cohort(self.base, [_recipe(w, seed) for seed in range(w.members)], _data(w, model), own=_held(w))
        step.follow(model, meter, lambda: self.stage)
        self.vectors = _vectors(model, self.cohort)
        for member in self.cohort.members:
            meter.overlook(v for flat in member.optimizer.flats for v in (flat.vector, flat.grad))

    def forward_backward(self) -> None:
        self.stage = "forward"
        self.meter.go("forward", None, "activations")
        self.cohort.passes([Piece(m, *m.longest_batch()) for m in self.cohort.members])
        if self.cohort.anchor:
            self.stage = "forward 2"
            self.meter.go(self.stage, None, "activations")
            self.cohort.hold(self.cohort.members)

    def _backward(self, loss: torch.Tensor) -> None:
        self.meter.go(self.stage.replace("forward", "head backward"), None, "backward")
        loss.backward()
        self.stage = "between"

    def clear(self) -> None:
        """Gradients are views of one vector: set to zero, never given back."""
        for member in self.cohort.members:
            member.optimizer.clear()

    @torch.no_grad()
    def evaluate(self) -> None:
        batch = self.base.learning.collate(self.base, self.cohort.data.splits["validation"])
        self.stage = "evaluation"
        self.meter.go("evaluation", None, "evaluation")
        learning, adapter = self.base.learning, self.cohort.members[0].adapter
        learning.unit_losses(learning.outputs(self.base, batch, [Slice(adapter, batch.rows, batch.length)]), batch)
        self.stage = "between"

    def update_shapes(self, times: Times) -> list[tuple[torch.Size, torch.dtype]]:
        """Members step one after another, each over one vector a group."""
        return [(torch.Size([n]), torch.float32) for n in self._sizes(times)]

    def resident(self, times: Times) -> list[Event]:
        """The vectors of the deep model: weights, gradients and moments of every member."""
        place, moments = Place("optimizer state"), int(self.w.momentum > 0) if self.w.optim == "sgd" else 2
        own = "adapter" if self.w.trains_adapter else "weights"
        kinds = [own, "gradients", *["optimizer"] * moments]
        sizes = [(n, kind) for _ in self.cohort.members for n in self._sizes(times) for kind in kinds]
        return [
            Event(place, Block(place, -1 - i), self.meter.rounded(4 * n), kind) for i, (n, kind) in enumerate(sizes)
        ]

    def _sizes(self, times: Times) -> list[int]:
        sizes = [sum(v.numel * times(v.layer) for v in self.vectors if v.group == group) for group in (0, 1)]
        return [n for n in sizes if n]


def _without_mask(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    return args, {**kwargs, "attention_mask": None} if "attention_mask" in kwargs else kwargs


class _Plain:
    """What the loop asks of Accelerate, on one CPU."""

    def __init__(self, w: Workload, backward: Callable[[torch.Tensor], None]):
        self.device, self.backward = torch.device("cpu"), backward
        self._dtype = step.AUTOCAST.get(w.autocast)

    def autocast(self) -> Any:
        return torch.autocast("cpu", dtype=self._dtype) if self._dtype else nullcontext()


# Tokens of a row that a run is held to, and of its answer: the longest, in SmolLM2's template.
HELD, ANSWERED = 90, 40


def _held(w: Workload) -> list[Tokens]:
    length = min(HELD, w.max_length)
    return [_row(length, min(ANSWERED, length - 1))] * ROWS if w.kl_weight else []


def _recipe(w: Workload, seed: int) -> Recipe:
    return Recipe.model_validate(
        {
            "model": w.model,
            "data": "-",
            "method": "full" if w.method == "full" else "lora",
            "r": w.r,
            "lora_dropout": w.lora_dropout,
            "target_modules": w.target_modules,
            "layers_to_transform": w.layers_to_transform,
            "frozen_layers": w.frozen_layers,
            "max_length": max(8, w.max_length),
            "seed": seed,
            "per_device_train_batch_size": w.per_device_train_batch_size,
            "gradient_checkpointing": w.gradient_checkpointing,
            "optim": "sgd" if w.optim == "sgd" else "adamw_torch",
            "momentum": w.momentum,
            "kl_weight": w.kl_weight,
        }
    )


CLASSIFIERS: dict[str, tuple[type[LabelLearning], type[ClassifierBase]]] = {
    "text-classification": (LabelLearning, ClassifierBase),
    "image-classification": (ImageLearning, ImageBase),
}


def _base(model: Any, accelerator: Any) -> Any:
    processor = SimpleNamespace(pad_token_id=0)
    if (task := task_of(model)) in CLASSIFIERS:
        learning, kind = CLASSIFIERS[task]
        return kind(learning(), model, processor, accelerator, ("",) * model.config.num_labels, ())
    return LanguageBase(model, processor, accelerator)


def _data(w: Workload, model: Any) -> Encoded:
    """Rows of the longest length; their labels are dealt out so that the batch has as many as it really has."""
    if (task := task_of(model)) in CLASSIFIERS:
        row = Labelled((1,) * w.max_length, 0) if task == "text-classification" else Seen(None, 0, w.max_length)
        rows = [row] * w.per_device_train_batch_size
        return Encoded({"train": rows, "validation": [row] * w.eval_rows, "test": []}, {})
    most, count = w.max_length - 1, w.per_device_train_batch_size
    total = min(most * count, round((w.labels or most) * count))
    train = [_row(w.max_length, total // count + (i < total % count)) for i in range(count)]
    return Encoded({"train": train, "validation": [train[0]] * w.eval_rows, "test": []}, {})


def _row(length: int, labels: int) -> Tokens:
    return Tokens([1] * length, [False] * (length - labels) + [True] * labels)


def _vectors(model: nn.Module, cohort: Cohort) -> list[Vector]:
    """Of one member: they all have the same."""
    member = cohort.members[0]
    named: Sequence[tuple[str, torch.Tensor]] = (
        [
            *((n, p) for n in member.adapter.A for p in (member.adapter.A[n], member.adapter.B[n])),
            *member.adapter.whole.items(),
        ]
        if member.adapter
        else list(model.named_parameters())
    )
    layer_in = step.layer_finder(model)
    counts: Counter[tuple[int, int | None]] = Counter()
    for name, p in named:
        counts[(0 if p.dim() >= 2 else 1, layer_in(name))] += p.numel()
    return [Vector(group, layer, n) for (group, layer), n in counts.items()]
