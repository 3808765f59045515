"""What a recipe's two names stand for right now. Takes MODEL and DATA, gives the examples and a fingerprint of both.

A file can change under its name: the fingerprint is part of a recipe, so that old results are never given for new material.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trimtab.data.prepare import Dataset, load
from trimtab.errors import SpecError
from trimtab.run import models
from trimtab.spec.recipe import Recipe

BLOCKS, BLOCK = 16, 65_536  # of a large file: weights that were trained on differ everywhere


@dataclass(frozen=True)
class Material:
    model: str
    data: str
    dataset: Dataset
    fingerprint: str  # MODEL-DATA, eight hex digits each

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


def gather(model: str, data: str, say: Callable[[str], None] = print) -> Material:
    identity = _identity(model, say)  # first: a misspelt model is said before a large file is read
    dataset = load(data, say=say)
    whole = hashlib.sha256()
    for split, examples in sorted(dataset.examples.items()):
        whole.update(split.encode())
        for example in examples:
            whole.update(json.dumps(example.messages).encode())
    fingerprint = f"{hashlib.sha256(identity.encode()).hexdigest()[:8]}-{whole.hexdigest()[:8]}"
    return Material(model, data, dataset, fingerprint)


def _identity(model: str, say: Callable[[str], None]) -> str:
    """A local model by its files, a hub model by its commit."""
    found = Path(models.resolve(model, say))
    return files_digest(found) if found.is_dir() else models.commit(model, say)


def files_digest(folder: Path) -> str:
    """Over names, sizes and contents of a model's files; large ones by evenly spaced blocks."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".md" and p.name[0] != "."):
        size = path.stat().st_size
        whole.update(f"{path.name}:{size}".encode())
        with path.open("rb") as handle:
            if size <= BLOCKS * BLOCK:
                whole.update(handle.read())
            else:
                for i in range(BLOCKS):
                    handle.seek(i * (size - BLOCK) // (BLOCKS - 1))
                    whole.update(handle.read(BLOCK))
    return whole.hexdigest()
