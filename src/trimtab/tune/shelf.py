"""The models that a worker holds: one base at a time, loaded when asked for. Takes recipes, gives bases and tuned subjects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from trimtab.behaviour.subject import Subject
from trimtab.errors import RunError
from trimtab.run import models
from trimtab.run.checkpoint import load_adapter
from trimtab.run.cohort import Base
from trimtab.run.machine import Machine
from trimtab.spec.recipe import Recipe

Key = tuple[bool, bool]  # (all weights, bfloat16): what must be equal for two runs to be measured on the same base


class Shelf:
    """`method` and `bf16` say how the untouched base is loaded where no recipe says it: as the runs will train it."""

    def __init__(self, model: str, machine: Machine, say: Callable[[str], None], method: str, bf16: bool | None):
        self.model, self.machine, self.say, self.method, self.bf16 = model, machine, say, method, bf16
        self.tokenizer = models.load_tokenizer(model, say)
        self._base: tuple[Key, Base] | None = None

    def key(self, recipe: Recipe | None = None) -> Key:
        method, bf16 = (recipe.method, recipe.bf16) if recipe else (self.method, self.bf16)
        return method == "full", self.machine.in_bf16(bf16)

    def base(self, recipe: Recipe | None = None) -> Base:
        """The base that a recipe trains on; full fine-tuning wants float32 weights of its own."""
        key = self.key(recipe)
        if self._base is None or self._base[0] != key:
            self._base = None  # two models at a time may not fit
            self._base = (key, self.fresh(self.model, key, self.tokenizer))
            self._base[1].say = self.say
        return self._base[1]

    def other(self, model: str) -> Subject:
        """Another model beside the base, a judge: as precise as this machine likes."""
        tokenizer = models.load_tokenizer(model, self.say)
        return Subject(self.fresh(model, (False, self.machine.bf16), tokenizer))

    def moved(self) -> None:
        """The base that was handed out is not the base any more."""
        self._base = None

    def tuned(self, recipe: Recipe, best: Path) -> Subject:
        """A finished run: its adapter on the base, or the model that it left."""
        if not best.exists():
            raise RunError(f"run {recipe.run_id} has no saved weights in {best}")
        if recipe.method == "full":
            return Subject(self.fresh(str(best), self.key(recipe), self.tokenizer))
        base = self.base(recipe)
        return Subject(base, load_adapter(best, base))

    def fresh(self, model: str, key: Key, tokenizer: Any) -> Base:
        full, bf16 = key
        AcceleratorState._reset_state()  # the library allows one precision a process; we may need two, one after another
        accelerator = Accelerator(cpu=self.machine.device == "cpu", mixed_precision="bf16" if full and bf16 else "no")
        dtype = torch.bfloat16 if bf16 and not full else torch.float32
        return Base(models.load_model(model, dtype, str(accelerator.device), self.say), tokenizer, accelerator)
