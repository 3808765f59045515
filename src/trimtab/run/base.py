"""A loaded model with what turns examples into its items: what the members of a cohort share. Knows no task but by
the seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator

from trimtab.run.adapters import Router
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import Learning


class Base:
    """`outside`: modules that no adapter goes on, such as a head. A task may have a base of its own with more to it."""

    def __init__(
        self,
        learning: Learning,
        model: torch.nn.Module,
        processor: Any,
        accelerator: Accelerator,
        outside: Sequence[torch.nn.Module] = (),
    ):
        self.learning, self.model, self.processor, self.accelerator = learning, model, processor, accelerator
        self.outside = tuple(outside)
        self.router = Router()
        self.device = accelerator.device
        self.ends: tuple[str, ...] = ()  # weight and bias of the linear layer that gives the logits, by name
        self.head_dropout = 0.0  # of a model that is trained whole
        self.say: Callable[[str], None] = lambda _: None  # told what a person should know

    def begin(self, recipe: Recipe) -> None:
        """Before runs of this recipe, or what is measured of them: whatever of the base depends on it."""

    def train(self, on: bool) -> None:
        """Of a model that is trained whole: dropout on or off."""
        self.model.train(on)

    @contextmanager
    def divided(self, temperature: float) -> Iterator[None]:
        """Inside, the model's own logits are divided by it; afterwards the weights are what they were, to the bit."""
        before = {n: self.model.get_parameter(n).detach().clone() for n in self.ends}
        for name in self.ends:
            self.model.get_parameter(name).data.div_(temperature)
        try:
            yield
        finally:
            for name, value in before.items():
                self.model.get_parameter(name).data.copy_(value)

    def kernels(self) -> AbstractContextManager[None]:
        """Which kernels the pass that is under way uses; entered again where a layer is computed again."""
        return nullcontext()
