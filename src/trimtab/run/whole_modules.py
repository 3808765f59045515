"""Modules that a member trains whole beside its adapter, such as a head that no checkpoint holds: PEFT's
modules_to_save. Takes a model and adapters, gives a model whose rows go through their own member's copy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn
from torch.func import functional_call

from trimtab.run.adapters import Adapter, Router, not_in_rows


class RoutedWhole(nn.Module):
    """A module of the base; rows of a member that has parameters of its own for it go through those. `ends`: whether
    it gives the logits."""

    def __init__(self, base: nn.Module, name: str, router: Router, ends: bool = False):
        super().__init__()
        self.base, self.name, self.router, self.ends = base, name, router, ends

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slices = self.router.slices
        if not any(s.adapter and self._own(s.adapter) for s in slices):
            return self.base(x)
        if len(slices) == 1:
            return self._of(slices[0].adapter, x)
        if x.shape[0] != sum(s.rows for s in slices):
            raise not_in_rows(self.name, x)
        rows = x.split([s.rows for s in slices])
        return torch.cat([self._of(s.adapter, some) for s, some in zip(slices, rows, strict=True)])

    def _of(self, adapter: Adapter | None, x: torch.Tensor) -> torch.Tensor:
        if adapter and self.ends:
            x = adapter.dropped_for_head(x)
        own = {k: v.to(x.dtype) for k, v in self._own(adapter).items()} if adapter else {}
        return functional_call(self.base, own, (x,)) if own else self.base(x)

    def _own(self, adapter: Adapter) -> dict[str, torch.Tensor]:
        start = f"{self.name}."
        return {k.removeprefix(start): v for k, v in adapter.whole.items() if k.startswith(start)}


def modules_of(names: Collection[str], model: nn.Module) -> list[str]:
    """The modules that hold these parameters, as PEFT's modules_to_save names them: the uppermost ones outside of the
    model's body, and the uppermost of the body's own."""
    inside = getattr(model, "base_model_prefix", "")
    parts = [n.split(".") for n in names]
    return sorted({".".join(p[: 2 if p[0] == inside else 1]) for p in parts})


def attach_whole(model: nn.Module, whole: Mapping[str, torch.Tensor], router: Router, ends: Sequence[str] = ()) -> None:
    """Wrap the modules that hold these parameters once; members' copies come and go through the router."""
    for name in modules_of(whole, model):
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        if not isinstance(getattr(owner, leaf), RoutedWhole):
            setattr(
                owner,
                leaf,
                RoutedWhole(getattr(owner, leaf), name, router, any(e.startswith(f"{name}.") for e in ends)),
            )


def set_parameters(model: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Of a model that is trained whole, in place."""
    for name, value in values.items():
        model.get_parameter(name).data.copy_(value)
