"""The frozen lower layers, computed once for each example. Takes a base and a layer, gives hidden states.

With adapters in the upper layers alone (layers_to_transform), everything below them is the same at every visit: of all
members, seeds and epochs. A screen (workers/proxy_screen.py) trains so too, whatever the recipes say.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch import nn

from trimtab.errors import ModelError
from trimtab.run.base import Base
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import STATES_ROOM

CLOSE = 0.05  # of an output's spread: the two halves must compute what the whole does
ROWS = 16  # examples in one pass through the lower layers


class FrozenPrefix:
    """Layers below `first` are the prefix. ModelError where the model does not come apart there."""

    def __init__(self, base: Base, first: int, *known: Sequence[Any]):
        """`known`: sets of items that will come. Each set is computed in the same passes whoever comes first, so that
        a run that is resumed, or trained beside others, meets the same states to the last bit."""
        self.base, self.first = base, first
        self.inner, self.stack, self.layers = _stack(base.model)
        if not 0 < first < len(self.layers):
            raise ModelError(f"a prefix ends below layer 1 to {len(self.layers) - 1}; got {first}")
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

    def is_upper(self, name: str) -> bool:
        """Whether a module of this name lies above the prefix."""
        layer = re.search(rf"\b{self.stack}\.(\d+)\.", name)
        return layer is not None and int(layer.group(1)) >= self.first

    def hidden(self, items: Sequence[Any], length: int) -> torch.Tensor:
        """[items, length, width]: what reaches the first upper layer."""
        self.expect(items)
        for item in items:
            if item.key not in self._kept:
                self._fill(self._passes[item.key])
        parts = [self._kept[i.key] for i in items]
        out = parts[0].new_zeros(len(items), length, parts[0].shape[1])
        for i, part in enumerate(parts):
            out[i, : len(part)] = part
        return out

    @torch.no_grad()
    def _fill(self, items: Sequence[Any]) -> None:
        seen: list[torch.Tensor] = []

        def look(_module: nn.Module, args: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
            seen.append(args[0] if args else named["hidden_states"])
            raise _Enough

        learning = self.base.learning
        handle = self.layers[self.first].register_forward_pre_hook(look, with_kwargs=True)
        try:
            learning.outputs(self.base, learning.collate(self.base, items), [])
        except _Enough:
            pass
        finally:
            handle.remove()
        for item, states in zip(items, seen[0], strict=True):
            self._kept[item.key] = states[: item.size].clone()

    @contextmanager
    def upper(self, items: Sequence[Any], length: int) -> Iterator[None]:
        """The model is its upper layers alone, and what reaches them are the kept states of these items. It is given
        the items all the same: masks and positions are made of them."""
        hidden = self.hidden(items, length)

        def put(
            _module: nn.Module, args: tuple[torch.Tensor, ...], named: dict[str, Any]
        ) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
            return ((hidden, *args[1:]), named) if args else ((), {**named, "hidden_states": hidden})

        handle = self.layers[self.first].register_forward_pre_hook(put, with_kwargs=True)
        setattr(self.inner, self.stack, self.layers[self.first :])
        try:
            yield
        finally:
            setattr(self.inner, self.stack, self.layers)
            handle.remove()

    @torch.no_grad()
    def check(self, items: Sequence[Any]) -> None:
        """Lower and upper half against the whole model, on real examples."""
        learning = self.base.learning
        batch = learning.collate(self.base, items)
        whole = learning.outputs(self.base, batch, [])
        with self.upper(items, batch.length):
            halves = learning.outputs(self.base, batch, [])
        if float((whole - halves).abs().max()) > CLOSE * float(whole.std()):
            raise ModelError("this model's layers cannot be run from the middle; screen without --screen")

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self._kept.values())


def first_of_upper(model: nn.Module, upper: float) -> int:
    """The first layer that is trained where the upper share of them is. ModelError where the model has no stack."""
    depth = len(_stack(model)[2])
    return min(depth - 1, max(1, round(depth * (1 - upper))))


def first_trained(recipes: Sequence[Recipe]) -> int:
    """The lowest layer that any of these trains; 0 also where one trains the whole model."""
    layers = [[0] if r.method == "full" else r.layers_to_transform or [0] for r in recipes]
    return min(min(some) for some in layers)


def prefix_of(base: Base, recipes: Sequence[Recipe], *known: Sequence[Any]) -> FrozenPrefix | None:
    """For recipes that train upper layers alone; None where one trains the lowest layer or the whole model, the model
    does not come apart, or the states of all these items would take more than a quarter of the free memory."""
    first, items = first_trained(recipes), [i for some in known for i in some]
    try:
        if first < 1 or not items or sum(i.size for i in items) * _state_bytes(base) > STATES_ROOM * _free(base):
            return None
        prefix = FrozenPrefix(base, first, *known)
        prefix.check(items[:4])
    except ModelError:
        return None
    return prefix


def _state_bytes(base: Base) -> int:
    """Of one unit of size (a token) between two layers."""
    width = int(base.model.config.hidden_size)  # type: ignore[union-attr,arg-type]
    return width * next(base.model.parameters()).element_size()


def _free(base: Base) -> int:
    return torch.cuda.mem_get_info()[0] if base.device.type == "cuda" else psutil.virtual_memory().available


class _Enough(Exception):
    """The lower layers are done."""


def _stack(model: nn.Module) -> tuple[nn.Module, str, nn.ModuleList]:
    """(owner, its name there, the layers), of a decoder or an encoder."""
    depth = getattr(model.config, "num_hidden_layers", None)
    for module in model.modules():
        for name, layers in module.named_children():
            if isinstance(layers, nn.ModuleList) and len(layers) == depth:
                return module, name, layers
    raise ModelError(f"{type(model).__name__} has no stack of layers that could be cut in two")
