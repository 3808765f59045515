"""The frozen lower layers, computed once for each example. Takes a base and a layer, gives hidden states.

With adapters in the upper layers alone (layers_to_transform), everything below them is the same at every visit: of all
members, seeds and epochs. A screen (workers/proxy_screen.py) trains so too, whatever the recipes say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from trimtab.errors import ModelError
from trimtab.run.adapters import Slice
from trimtab.run.base import Base
from trimtab.run.kept_states import KeptStates, free_memory
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import STATES_ROOM


class FrozenPrefix(KeptStates):
    """Layers below `first` are the prefix. ModelError where the model does not come apart there."""

    def __init__(self, base: Base, first: int, *known: Sequence[Any]):
        self.first = first
        self.inner, self.stack, self.layers = _stack(base.model)
        if not 0 < first < len(self.layers):
            raise ModelError(f"a prefix ends below layer 1 to {len(self.layers) - 1}; got {first}")
        names = {id(module): name for name, module in base.model.named_modules()}
        super().__init__(base, names[id(self.layers[first])], *known)

    def is_upper(self, name: str) -> bool:
        """Whether a module of this name lies above the prefix."""
        layer = re.search(rf"\b{self.stack}\.(\d+)\.", name)
        return layer is not None and int(layer.group(1)) >= self.first

    def cut(self, item: Any, states: torch.Tensor) -> torch.Tensor:
        return states[: item.size]

    def hidden(self, items: Sequence[Any], length: int) -> torch.Tensor:
        """[items, length, width]: what reaches the first upper layer."""
        parts = self.of(items)
        out = parts[0].new_zeros(len(items), length, parts[0].shape[1])
        for i, part in enumerate(parts):
            out[i, : len(part)] = part
        return out

    def outputs(self, batch: Any, slices: Sequence[Slice], items: Sequence[Any]) -> torch.Tensor:
        with self.upper(items, batch.length):
            return self.base.learning.outputs(self.base, batch, slices)

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
        if first < 1 or not items or sum(i.size for i in items) * _state_bytes(base) > STATES_ROOM * free_memory(base):
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


def _stack(model: nn.Module) -> tuple[nn.Module, str, nn.ModuleList]:
    """(owner, its name there, the layers), of a decoder or an encoder."""
    depth = getattr(model.config, "num_hidden_layers", None)
    for module in model.modules():
        for name, layers in module.named_children():
            if isinstance(layers, nn.ModuleList) and len(layers) == depth:
                return module, name, layers
    raise ModelError(f"{type(model).__name__} has no stack of layers that could be cut in two")
