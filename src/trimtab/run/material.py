"""What a recipe's two names stand for right now. Takes MODEL and DATA, gives the examples and a fingerprint of both.

A file can change under its name: the fingerprint is part of a recipe, so that old results are never given for new
material.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from trimtab.errors import SpecError
from trimtab.spec.progress import Say
from trimtab.spec.recipe import Recipe
from trimtab.tasks.task import Task, find_task


@dataclass(frozen=True)
class Material:
    """`dataset` is the task's own, with `examples` by split."""

    model: str
    data: str
    dataset: Any
    fingerprint: str  # MODEL-DATA, eight hex digits each
    task: Task

    def named_in(self, recipe: Recipe) -> Recipe:
        """The recipe with this fingerprint; SpecError when it was written for other material."""
        if recipe.fingerprint not in (None, self.fingerprint):
            same_model = recipe.fingerprint.startswith(self.fingerprint.split("-")[0])
            raise SpecError(
                recipe.run_id,
                [
                    f"{self.data if same_model else self.model} has changed since this recipe was written (fingerprint "
                    f"{recipe.fingerprint}, now {self.fingerprint}); put the old files back, or use the recipe without "
                    "its fingerprint line"
                ],
            )
        return recipe.but(fingerprint=self.fingerprint)


def load_material(model: str, data: str, say: Say = print, task: str = "sft") -> Material:
    """Raises ModelError, DataError or SpecError where one of the three cannot be had."""
    what = find_task(task)
    identity = what.identity(model, say)  # first: a misspelt model is said before a large file is read
    dataset = what.read(data, say)
    whole = hashlib.sha256()
    for split, examples in sorted(dataset.examples.items()):
        whole.update(split.encode())
        for example in examples:
            whole.update(what.content(example))
    fingerprint = f"{hashlib.sha256(identity.encode()).hexdigest()[:8]}-{whole.hexdigest()[:8]}"
    return Material(model, data, dataset, fingerprint, what)
