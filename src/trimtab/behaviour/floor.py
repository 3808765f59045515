"""What a card reads where nothing was changed, and where a share of the update was: the null floor, and an adapter at
several scales. Takes evaluated models, gives raw values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trimtab.behaviour.answering import EvaluatedModel, nll
from trimtab.behaviour.card import measure
from trimtab.behaviour.drift import Reference, full_drift
from trimtab.behaviour.kept import identity, remembered
from trimtab.behaviour.pair_responses import Raw, compare
from trimtab.behaviour.responses import Battery, collect_responses
from trimtab.datasets.tokens import Tokens
from trimtab.run.adapters import Adapter, attach, find_targets


def floor(base: EvaluatedModel, ref: Reference, battery: Battery, keep: Path | None = None) -> dict[str, Raw]:
    """The null floor: the base against itself in other batches, and against itself with tiny noise on its weights.

    No change below these numbers means anything. Of what needs generation only the requests that ought to be declined;
    the noise is 2e-4 of each matrix's norm.
    """
    brief = replace(battery, level="short", own=())
    content = (ref.prompts, brief, NOISE)
    return remembered(keep, "floor", identity(base) if keep else "", content, lambda: _floor(base, ref, brief, keep))


def _floor(base: EvaluatedModel, ref: Reference, brief: Battery, keep: Path | None) -> dict[str, Raw]:
    noisy = EvaluatedModel(base.base, noise(base))
    said = collect_responses(base, brief, keep)
    itself = {**full_drift(base, base, ref, batch_size=3), **compare(said, said, brief)}
    moved = collect_responses(noisy, brief, called="the base model with a little noise")
    return {"itself": itself, "noise": {**full_drift(base, noisy, ref), **compare(said, moved, brief)}}


SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)


def scales(
    base: EvaluatedModel,
    tuned: EvaluatedModel,
    ref: Reference,
    battery: Battery,
    rows: Sequence[Tokens],
    keep: Path | None = None,
) -> list[dict[str, Any]]:
    """An adapter at several scales: the held-out loss of each of `rows`, and what a pulse measures."""
    adapter = tuned.adapter
    assert adapter is not None, "only an adapter can be scaled without a second model"
    whole, by_scale = adapter.scale, []
    try:
        for scale in SCALES:
            tuned.base.say(f"Measuring {scale:g} of the update")
            adapter.scale = whole * scale
            measured, _ = measure(base, tuned, ref.fixed(), battery, None, keep)
            by_scale.append({"scale": scale, "items": nll(tuned, rows), "measured": measured})
    finally:
        adapter.scale = whole
    return by_scale


NOISE = 2e-4


def noise(evaluated: EvaluatedModel, size: float = NOISE, seed: int = 0) -> Adapter:
    """An adapter that changes each matrix by random noise of `size` times its norm."""
    base = evaluated.base
    targets = find_targets(base.model, "all-linear", base.outside)
    attach(base.model, targets, base.router)
    adapter = Adapter(targets, 8, 8.0, 0.0, seed, str(base.device))
    draw = torch.Generator(device=str(base.device)).manual_seed(seed)
    for name, linear in targets.items():
        b = torch.randn(adapter.B[name].shape, generator=draw, device=base.device)
        change = (b @ adapter.A[name].detach()).norm()
        adapter.B[name].data.copy_(b * size * float(linear.weight.detach().float().norm()) / float(change))
    adapter.training = False
    for p in adapter.parameters():
        p.requires_grad_(False)
    return adapter
