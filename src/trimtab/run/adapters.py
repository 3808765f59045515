"""Many LoRA adapters over one frozen base. Takes a model and adapters, gives a model whose rows can belong to
different members.

Each target linear computes its base product once for the whole batch; every member adds its low-rank product to its
own rows. Equal row counts are multiplied batched (ranks padded with zeros stay exactly zero). Names, initialisation
and the order of operations follow PEFT, so that a saved adapter gives the same logits there.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F

from trimtab.errors import ModelError, RunError


class Adapter:
    """One member's A and B for every target: float32, seeded by name, dropout from a generator of its own. `whole`:
    parameters that it trains besides, by their names in the model (run/whole_modules.py)."""

    def __init__(
        self,
        targets: dict[str, nn.Linear],
        r: int,
        alpha: float,
        dropout: float,
        seed: int,
        device: str,
        whole: Mapping[str, torch.Tensor] = MappingProxyType({}),
        head_dropout: float = 0.0,
    ):
        self.r, self.scale, self.dropout, self.head_dropout = r, alpha / r, dropout, head_dropout
        self.whole = {k: nn.Parameter(v.detach().clone().float().to(device)) for k, v in whole.items()}
        self.A: dict[str, nn.Parameter] = {}
        self.B: dict[str, nn.Parameter] = {}
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.training = True
        self._cast: dict[tuple[str, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}
        for name, linear in targets.items():
            start = torch.Generator().manual_seed(seed_of(name, seed))
            bound = 1 / math.sqrt(linear.in_features)  # kaiming_uniform(a=√5), as PEFT
            a = (torch.rand(r, linear.in_features, generator=start) * 2 - 1) * bound
            self.A[name] = nn.Parameter(a.to(device))
            self.B[name] = nn.Parameter(torch.zeros(linear.out_features, r, device=device))

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every target, in order, and then what is trained whole."""
        return [p for _, p in self.named_parameters()]

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """With the names that they have in the model."""
        sides = [(f"{name}.{side}", of[name]) for name in self.A for side, of in (("A", self.A), ("B", self.B))]
        return [*sides, *self.whole.items()]

    def dropped(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """`x` after dropout. The mask is drawn at the member's own length, so it does not depend on its neighbours'
        padding."""
        if not (self.training and self.dropout):
            return x
        # drawn before padding: a member's random numbers must not depend on who trains beside it, or a cohort would
        # not repeat a run trained alone
        keep = torch.rand(x.shape[0], length, x.shape[2], generator=self.generator, device=x.device) >= self.dropout
        keep = F.pad(keep, (0, 0, 0, x.shape[1] - length))
        return x * keep / (1 - self.dropout)

    def dropped_for_head(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [rows, …, width], or [rows, channels, height, width], after dropout; one draw for a row's positions, so
        that it does not depend on its neighbours' padding either."""
        if not (self.training and self.head_dropout):
            return x
        shape = [*x.shape[:2], 1, 1] if x.dim() == 4 else [x.shape[0], *(1,) * (x.dim() - 2), x.shape[-1]]
        keep = torch.rand(shape, generator=self.generator, device=x.device) >= self.head_dropout
        return x * keep / (1 - self.head_dropout)

    def delta(self, name: str, x: torch.Tensor, length: int) -> torch.Tensor:
        """What it adds to a target's product, [rows, length, out]."""
        x = self.dropped(x, length)
        a, b = self._as(name, x.dtype)
        return F.linear(F.linear(x, a), b) * self.scale

    def _as(self, name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """A and B in the precision of the base; of a finished adapter once, since an answer asks for them at every
        token."""
        a, b = self.A[name], self.B[name]
        if a.requires_grad or a.dtype == dtype:
            return a.to(dtype), b.to(dtype)
        if (name, dtype) not in self._cast:
            self._cast[name, dtype] = (a.to(dtype), b.to(dtype))
        return self._cast[name, dtype]


@dataclass(frozen=True)
class Slice:
    """`rows` consecutive rows of the batch that belong to `adapter` (None: the untouched base), `length` tokens long
    at most."""

    adapter: Adapter | None
    rows: int
    length: int


class Router:
    """Says whose rows are whose, to every adapted linear of one model."""

    def __init__(self) -> None:
        self.slices: list[Slice] = []

    @contextmanager
    def route(self, slices: Sequence[Slice]) -> Iterator[None]:
        """Inside, rows belong as `slices` say."""
        self.slices = list(slices)
        try:
            yield
        finally:
            self.slices = []  # a pass outside of `route` is the base's own, also after an error

    def at(self, name: str) -> list[Slice]:
        """As a target of this name has them: for an adapter that leaves it out, rows are the untouched base's."""
        return [s if s.adapter is None or name in s.adapter.A else replace(s, adapter=None) for s in self.slices]


class RoutedLinear(nn.Module):
    """A target linear whose rows get their members' products added."""

    def __init__(self, base: nn.Linear, name: str, router: Router):
        super().__init__()
        self.base, self.name, self.router = base, name, router

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.base(x)
        slices = self.router.at(self.name)
        if not any(s.adapter for s in slices):
            return y
        if len(slices) == 1:
            # a run alone: nothing is split, padded or put together again, and layers that flatten their rows (experts)
            # work too
            adapter = slices[0].adapter
            assert adapter is not None
            return y + adapter.delta(self.name, x, slices[0].length)
        if x.dim() == 2 and x.shape[0] == sum(s.rows for s in slices):  # one state a row, as a pooler has
            return y + self._of_rows(x[:, None], [replace(s, length=1) for s in slices])[:, 0]
        # Rows are told apart by their place in the batch alone. Where a layer reorders or flattens them, another
        # member's adapter would be applied in silence: better to refuse.
        if x.dim() != 3 or x.shape[0] != sum(s.rows for s in slices):
            raise not_in_rows(self.name, x)
        return y + self._of_rows(x, slices)

    def _of_rows(self, x: torch.Tensor, slices: list[Slice]) -> torch.Tensor:
        equal = len({s.rows for s in slices}) == 1 and all(s.adapter for s in slices)
        return self._batched(x, slices) if equal else self._one_by_one(x, slices)

    def _one_by_one(self, x: torch.Tensor, slices: list[Slice]) -> torch.Tensor:
        parts = [
            s.adapter.delta(self.name, part, s.length)
            if s.adapter
            else part.new_zeros(*part.shape[:-1], self.base.out_features)
            for s, part in zip(slices, x.split([s.rows for s in slices]), strict=True)
        ]
        return torch.cat(parts)

    def _batched(self, x: torch.Tensor, slices: list[Slice]) -> torch.Tensor:
        """One bmm each for all A and all B; x is [K·rows, length, in]."""
        # Ranks differ between members; rows of zeros in A meet columns of zeros in B, so what is padded adds exactly 0.
        # The scale goes into B, once for each weight instead of once for each token.
        adapters = [s.adapter for s in slices if s.adapter]
        k, r = len(adapters), max(a.r for a in adapters)
        if any(a.dropout for a in adapters):
            pieces = x.split([s.rows for s in slices])
            x = torch.cat([a.dropped(p, s.length) for a, p, s in zip(adapters, pieces, slices, strict=True)])
        down = torch.stack([F.pad(a.A[self.name], (0, 0, 0, r - a.r)) for a in adapters]).to(x.dtype)
        up = torch.stack([F.pad(a.B[self.name] * a.scale, (0, r - a.r)) for a in adapters]).to(x.dtype)
        low = torch.bmm(x.reshape(k, -1, x.shape[-1]), down.transpose(1, 2))
        return torch.bmm(low, up.transpose(1, 2)).view(*x.shape[:-1], self.base.out_features)


def not_in_rows(name: str, x: torch.Tensor) -> RunError:
    """What to raise where a layer cannot tell whose rows are whose."""
    return RunError(
        f"{name} does not see the batch as rows (shape {tuple(x.shape)}), so members cannot share a pass in this"
        " architecture; train them with --certify"
    )


def find_targets(
    model: nn.Module,
    target_modules: str | Sequence[str],
    outside: Sequence[nn.Module] = (),
    layers: Sequence[int] | None = None,
) -> dict[str, nn.Linear]:
    """name -> linear. "all-linear" is every linear but those `outside` (the head: PEFT's meaning); else names or
    name endings. `layers`: only in these, by number.

    ModelError with the names that there are, where one is not there."""
    linears = {
        n: _bare(m)
        for n, m in model.named_modules()
        if isinstance(m, nn.Linear | RoutedLinear) and not any(m is o for o in outside) and not n.endswith(".base")
    }
    if target_modules == "all-linear":
        chosen = linears
    else:
        wanted = [target_modules] if isinstance(target_modules, str) else list(target_modules)
        chosen = {n: m for n, m in linears.items() if any(_is_named(n, w) for w in wanted)}
    lost = [] if target_modules == "all-linear" else [w for w in wanted if not any(_is_named(n, w) for n in linears)]
    if lost or not chosen:
        endings = sorted({n.rsplit(".", 1)[-1] for n in linears})
        raise ModelError(
            f"target_modules: {', '.join(lost) or target_modules} names no linear layer of this model; "
            f"it has {', '.join(endings) or 'none that LoRA can attach to'}"
        )
    return chosen if layers is None else _in_layers(chosen, layers)


def _in_layers(targets: dict[str, nn.Linear], layers: Sequence[int]) -> dict[str, nn.Linear]:
    """PEFT's layers_to_transform: the first number in a module's name is its layer."""
    of = {name: int(at[1]) for name in targets if (at := re.search(r"\.(\d+)\.", name))}
    if unknown := sorted(set(layers) - set(of.values())):
        there = f"layers 0 to {max(of.values())}" if of else "no numbered layers"
        raise ModelError(f"layers_to_transform: {', '.join(map(str, unknown))} not in this model; it has {there}")
    return {name: linear for name, linear in targets.items() if of.get(name) in layers}


def _is_named(layer: str, wanted: str) -> bool:
    return layer == wanted or layer.endswith(f".{wanted}")


def attach(model: nn.Module, targets: dict[str, nn.Linear], router: Router) -> None:
    """Wrap the targets once; adapters come and go through the router."""
    for name, linear in targets.items():
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        if not isinstance(getattr(owner, leaf), RoutedLinear):
            setattr(owner, leaf, RoutedLinear(linear, name, router))


def _bare(module: nn.Module) -> nn.Linear:
    linear = module.base if isinstance(module, RoutedLinear) else module
    assert isinstance(linear, nn.Linear)
    return linear


def seed_of(name: str, seed: int) -> int:
    """Of what is drawn for a parameter: by its name, whoever else draws."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")
