"""How likely given endings are after a prompt. Takes a evaluated, prompts and endings, gives log-probabilities;
generates nothing.

A prompt is read once and its cache shared by all its endings: four options cost little more than one; so is what all
prompts begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trimtab.behaviour.answering import EvaluatedModel, padded, parted, read_once
from trimtab.run.adapters import Slice
from trimtab.run.oom import in_batches
from trimtab.tasks.language import Padded

Ids = Sequence[int]


@torch.no_grad()
def log_likelihoods(
    evaluated: EvaluatedModel, prompts: Sequence[Ids], endings: Sequence[Sequence[Ids]], batch_size: int = 16
) -> list[list[float]]:
    """[prompts][endings] nats: ln p(whole ending | prompt). Every prompt has the same number of endings, none of
    them empty."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    sums: list[list[float]] = [[] for _ in prompts]
    measure = lambda piece: _measure(evaluated, [prompts[i] for i in piece], [endings[i] for i in piece])  # noqa: E731
    for piece, values in in_batches(order, batch_size, measure, evaluated.base.say):
        for i, row in zip(piece, values, strict=True):
            sums[i] = row
    return sums


def _measure(evaluated: EvaluatedModel, prompts: Sequence[Ids], endings: Sequence[Sequence[Ids]]) -> list[list[float]]:
    each = len(endings[0])
    first, mask, cache = _read(evaluated, prompts)
    flat = [e for row in endings for e in row]
    first = torch.log_softmax(first, -1).repeat_interleave(each, 0)
    total = first.gather(1, torch.tensor([[e[0]] for e in flat], device=first.device)).squeeze(1)
    if max(map(len, flat)) > 1:
        cache.batch_repeat_interleave(each)
        total = total + _rest(evaluated, flat, mask.repeat_interleave(each, 0), cache)
    return total.view(len(prompts), each).tolist()


def _read(evaluated: EvaluatedModel, prompts: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Logits after each prompt, the prompts' mask (padded, so that endings follow at once) and their cache. What all
    begin with is read once."""
    base = evaluated.base
    start, rest = parted(prompts, base)
    ids, mask = padded(start, rest, base)
    places, ids = (mask.cumsum(1) - 1).clamp(min=0)[:, len(start) :], ids[:, len(start) :]
    width = ids.shape[1]
    last = torch.arange(len(prompts), device=base.device) * width + width - 1
    batch = Padded(ids, mask, last, ids[:, -1], (1,) * len(prompts))
    slices = [Slice(evaluated.adapter, len(prompts), width)]
    read = {"past_key_values": cache} if (cache := read_once(evaluated, start, len(prompts))) else {}
    out = base.forward(batch, slices, use_cache=True, position_ids=places, **read)
    return out.logits.float(), mask, out.past_key_values


def _rest(evaluated: EvaluatedModel, endings: Sequence[Ids], before: torch.Tensor, cache: Any) -> torch.Tensor:
    """Sum of ln p of every token but the first of each ending."""
    base, width = evaluated.base, max(map(len, endings)) - 1
    pad = base.tokenizer.pad_token_id
    ids = torch.tensor([[*e[:-1], *[pad] * (width - len(e) + 1)] for e in endings], device=base.device)
    there = torch.tensor([[1] * (len(e) - 1) + [0] * (width - len(e) + 1) for e in endings], device=base.device)
    mask = torch.cat([before, there], 1)
    counts = tuple(len(e) - 1 for e in endings)
    places = torch.tensor([row * width + i for row, n in enumerate(counts) for i in range(n)], device=base.device)
    targets = torch.tensor([t for e in endings for t in e[1:]], device=base.device)
    batch = Padded(ids, mask, places, targets, counts)
    positions = (before.sum(1, keepdim=True) + torch.arange(width, device=base.device)).clamp(min=0)
    slices = [Slice(evaluated.adapter, len(endings), width)]
    logits = base.forward(batch, slices, use_cache=True, past_key_values=cache, position_ids=positions).logits.float()
    values = torch.log_softmax(logits, -1).gather(1, targets[:, None]).squeeze(1)
    return torch.stack([part.sum() for part in values.split(counts)])
