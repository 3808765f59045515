"""What frozen modules make of each item, computed once and kept. Takes a base and one of its modules, gives what
reaches that module.

`FrozenBody` is for runs that train a head alone: they never run the body again, whatever their number, seeds or epochs.
The frozen lower layers are kept in run/frozen_prefix.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import psutil
import torch
from torch import nn

from trimtab.errors import ModelError
from trimtab.run.adapters import Slice
from trimtab.run.base import Base
from trimtab.run.whole_modules import modules_of
from trimtab.spec.recipe import PICTURES_ONLY, Recipe
from trimtab.spec.workload import STATES_ROOM

CLOSE = 0.05  # of an output's spread: the two halves must compute what the whole does
ROWS = 16  # examples in one pass through what is frozen


class KeptStates:
    """What reaches the module `watched` (its name in the model), by item."""

    def __init__(self, base: Base, watched: str, *known: Sequence[Any]):
        """`known`: sets of items that will come. Each set is computed in the same passes whoever comes first, so that
        a run that is resumed, or trained beside others, meets the same states to the last bit."""
        self.base, self.watched = base, watched
        self._kept: dict[Hashable, torch.Tensor] = {}
        self._passes: dict[Hashable, list[Any]] = {}
        for items in known:
            self.expect(items)

    def expect(self, items: Sequence[Any]) -> None:
        """That these will come."""
        new = {i.key: i for i in items if i.key not in self._passes}
        order = sorted(new.values(), key=lambda i: (i.size, i.key))  # like lengths together: little padding
        for start in range(0, len(order), ROWS):
            some = order[start : start + ROWS]
            self._passes |= {i.key: some for i in some}

    def of(self, items: Sequence[Any]) -> list[torch.Tensor]:
        """Of each item what reaches the module."""
        self.expect(items)
        for item in items:
            if item.key not in self._kept:
                self._fill(self._passes[item.key])
        return [self._kept[i.key] for i in items]

    @torch.no_grad()
    def _fill(self, items: Sequence[Any]) -> None:
        seen: list[torch.Tensor] = []

        def look(_module: nn.Module, args: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
            seen.append(args[0] if args else named["hidden_states"])
            raise _Enough

        learning = self.base.learning
        handle = self.base.model.get_submodule(self.watched).register_forward_pre_hook(look, with_kwargs=True)
        try:
            learning.outputs(self.base, learning.collate(self.base, items), [])
        except _Enough:
            pass
        finally:
            handle.remove()
        for item, states in zip(items, seen[0], strict=True):
            self._kept[item.key] = self.cut(item, states).clone()

    def cut(self, _item: Any, states: torch.Tensor) -> torch.Tensor:
        """Without what is padding."""
        return states

    def outputs(self, batch: Any, slices: Sequence[Slice], items: Sequence[Any]) -> torch.Tensor:
        """What `learning.outputs` gives of this batch of these items."""
        raise NotImplementedError

    def check(self, items: Sequence[Any]) -> None:
        """What is kept, and the rest, against the whole model on real examples. ModelError where they differ."""
        learning = self.base.learning
        with torch.no_grad():
            batch = learning.collate(self.base, items)
            whole = learning.outputs(self.base, batch, [])
            halves = self.outputs(batch, [], items)
        if whole.shape != halves.shape or float((whole - halves).abs().max()) > CLOSE * float(whole.std()):
            raise ModelError("this model's layers cannot be run from the middle; screen without --screen")

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self._kept.values())


class FrozenBody(KeptStates):
    """Everything before a head: one module that sees one row of numbers for each example."""

    def outputs(self, _batch: Any, slices: Sequence[Slice], items: Sequence[Any]) -> torch.Tensor:
        rows = torch.stack(self.of(items))  # before any row is somebody's: what is kept is the base's own
        with self.base.router.route(slices), self.base.accelerator.autocast():
            out: torch.Tensor = self.base.model.get_submodule(self.watched)(rows)
        return out.float().flatten(1)


def body_of(base: Base, recipes: Sequence[Recipe], *known: Sequence[Any]) -> FrozenBody | None:
    """For recipes that train the head alone. None where pictures are varied (no two passes are the same), the head is
    no single module that ends the model, or the states of all these items would take too much of the free memory."""
    items = [i for some in known for i in some]
    heads = modules_of(list(base.learning.fresh(base, recipes[0])), base.model)
    if len(heads) != 1 or not items or any(getattr(r, k) for r in recipes for k in PICTURES_ONLY):
        return None
    try:
        body = FrozenBody(base, heads[0], *known)
        body.check(items[:4])
    except (ModelError, RuntimeError):  # states of unlike shapes cannot be stacked
        return None
    one = body.of(items[:1])[0]
    return body if one.numel() * one.element_size() * len(items) <= STATES_ROOM * free_memory(base) else None


def free_memory(base: Base) -> int:
    """Bytes, where the base lies."""
    return torch.cuda.mem_get_info()[0] if base.device.type == "cuda" else psutil.virtual_memory().available


class _Enough(Exception):
    """What is frozen is done."""
