"""The frozen lower layers, computed once for each example: what a screen trains on. Takes a base and a layer, gives
hidden states.

With adapters in the upper layers alone, everything below them is the same at every visit. A screen's numbers are its
own: the best rate lies about a step higher than for the whole model and divergence shows less, so that it may drop
the worse half and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from trimtab.errors import ModelError
from trimtab.run.base import Base

CLOSE = 0.05  # of an output's spread: the two halves must compute what the whole does
ROWS = 16  # examples in one pass through the lower layers


class FrozenPrefix:
    """Layers below `first` are the prefix. ModelError where the model does not come apart there."""

    def __init__(self, base: Base, upper: float):
        """`upper`: the share of layers that are trained."""
        self.base = base
        self.inner, self.layers = _decoder(base.model)
        self.first = min(len(self.layers) - 1, max(1, round(len(self.layers) * (1 - upper))))
        self._kept: dict[Hashable, torch.Tensor] = {}

    def is_upper(self, name: str) -> bool:
        """Whether a module of this name lies above the prefix."""
        layer = re.search(r"\blayers\.(\d+)\.", name)
        return layer is not None and int(layer.group(1)) >= self.first

    def hidden(self, items: Sequence[Any], length: int) -> torch.Tensor:
        """[items, length, width]: what reaches the first upper layer."""
        new = list({i.key: i for i in items if i.key not in self._kept}.values())
        for i in range(0, len(new), ROWS):
            self._fill(new[i : i + ROWS])
        parts = [self._kept[i.key] for i in items]
        out = parts[0].new_zeros(len(items), length, parts[0].shape[1])
        for i, part in enumerate(parts):
            out[i, : len(part)] = part
        return out

    @torch.no_grad()
    def _fill(self, items: Sequence[Any]) -> None:
        seen: list[torch.Tensor] = []

        def look(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            seen.append(args[0])
            raise _Enough

        learning = self.base.learning
        handle = self.layers[self.first].register_forward_pre_hook(look)
        try:
            learning.outputs(self.base, learning.collate(self.base, items), [])
        except _Enough:
            pass
        finally:
            handle.remove()
        for item, states in zip(items, seen[0], strict=True):
            self._kept[item.key] = states[: item.size].clone()

    @contextmanager
    def upper(self) -> Iterator[None]:
        """The model is its upper layers alone."""
        self.inner.layers = self.layers[self.first :]
        try:
            yield
        finally:
            self.inner.layers = self.layers

    @torch.no_grad()
    def check(self, items: Sequence[Any]) -> None:
        """Lower and upper half against the whole model, on real examples."""
        learning = self.base.learning
        batch = learning.collate(self.base, items)
        whole = learning.outputs(self.base, batch, [])
        hidden = self.hidden(items, batch.length)
        with self.upper():
            halves = learning.outputs(self.base, batch, [], hidden)
        if float((whole - halves).abs().max()) > CLOSE * float(whole.std()):
            raise ModelError("this model's layers cannot be run from the middle; screen without --screen")

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self._kept.values())


class _Enough(Exception):
    """The lower layers are done."""


def _decoder(model: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    depth = getattr(model.config, "num_hidden_layers", None)
    for module in model.modules():
        layers = getattr(module, "layers", None)
        if isinstance(layers, nn.ModuleList) and len(layers) == depth:
            return module, layers
    raise ModelError(f"{type(model).__name__} has no stack of layers that could be cut in two")
