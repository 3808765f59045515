"""The models that a worker holds: one base at a time, loaded when asked for. Takes recipes, gives bases and trained
weights on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimtab.errors import RunError
from trimtab.run.adapters import Adapter
from trimtab.run.base import Base
from trimtab.run.checkpoint import load_adapter
from trimtab.run.machine import Machine
from trimtab.spec.progress import Say
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import Task

Key = tuple[bool, bool]  # (all weights, bfloat16): what must be equal for two runs to be measured on the same base


class ModelCache:
    """`method` and `bf16` say how the untouched base is loaded where no recipe says it: as the runs will train it."""

    def __init__(
        self,
        task: Task,
        model: str,
        machine: Machine,
        say: Say,
        method: str = "lora",
        bf16: bool | None = None,
        dataset: Any = None,
    ):
        self.task, self.model, self.machine, self.say, self.method, self.bf16 = task, model, machine, say, method, bf16
        self.processor, self.dataset = task.processor(model, say), dataset
        self._base: tuple[Key, Base] | None = None

    def key(self, recipe: Recipe | None = None) -> Key:
        full, bf16 = (recipe.whole_model, recipe.bf16) if recipe else (self.method == "full", self.bf16)
        return full, self.machine.in_bf16(bf16)

    def base(self, recipe: Recipe | None = None) -> Base:
        """The base that a recipe trains on; full fine-tuning wants float32 weights of its own."""
        key = self.key(recipe)
        if self._base is None or self._base[0] != key:
            self._base = None  # two models at a time may not fit
            self._base = (key, self.fresh(self.model, key, self.processor))
            self._base[1].say = self.say
        if recipe:
            self._base[1].begin(recipe)
        return self._base[1]

    def other(self, model: str) -> Base:
        """Another model beside the base, a judge: as precise as this machine likes."""
        return self.fresh(model, (False, self.machine.bf16), self.task.processor(model, self.say))

    def moved(self) -> None:
        """The base that was handed out is not the base any more."""
        self._base = None

    def tuned(self, recipe: Recipe, best: Path) -> tuple[Base, Adapter | None]:
        """A finished run: its adapter on the base, or the model that it left. RunError where it left nothing."""
        if not best.exists():
            raise RunError(f"run {recipe.run_id} has no saved weights in {best}")
        if not (best / "adapter_config.json").exists():
            return self.fresh(str(best), self.key(recipe), self.processor), None
        base = self.base(recipe)
        return base, load_adapter(best, base)

    def fresh(self, model: str, key: Key, processor: Any) -> Base:
        """A model of its own, loaded as `key` says."""
        full, bf16 = key
        return self.task.load_base(model, self.dataset, processor, full, bf16, self.machine.device, self.say)
