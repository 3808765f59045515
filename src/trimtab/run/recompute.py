"""Gradient checkpointing for cohorts: layers forget their activations and compute them again in backward.

torch's checkpoint restores its own random state and autocast; whose rows are whose, the attention in use and each
adapter's dropout generator are ours, and must be in the second pass what they were in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from trimtab.errors import ModelError
from trimtab.run.adapters import Router, Slice

Contexts = Callable[[], AbstractContextManager[None]]


@contextmanager
def recomputing(model: nn.Module, router: Router, attention: Contexts) -> Iterator[None]:
    """While this is open, a training pass keeps only what enters each layer. `attention` is entered in the second
    pass too."""
    layers: list[Any] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(f"{type(model).__name__} has no layers that can recompute; set gradient_checkpointing: false")
    before = [layer.training for layer in layers]
    for layer in layers:
        # the flag of the layer alone: dropout inside a frozen base stays off
        layer.training, layer.gradient_checkpointing = True, True
        layer._gradient_checkpointing_func = lambda run, *args: checkpoint(
            run, *args, use_reentrant=False, context_fn=lambda: _twice(router, attention)
        )
    try:
        yield
    finally:
        for layer, training in zip(layers, before, strict=True):
            layer.training, layer.gradient_checkpointing = training, False


def _twice(router: Router, attention: Contexts) -> tuple[Any, Any]:
    slices = list(router.slices)
    states = [s.adapter.generator.get_state() if s.adapter else None for s in slices]
    return nullcontext(), _again(router, slices, states, attention)


@contextmanager
def _again(
    router: Router, slices: Sequence[Slice], states: Sequence[torch.Tensor | None], attention: Contexts
) -> Iterator[None]:
    adapters = [(s.adapter, state) for s, state in zip(slices, states, strict=True) if s.adapter and state is not None]
    after = [adapter.generator.get_state() for adapter, _ in adapters]
    for adapter, state in adapters:
        adapter.generator.set_state(state)
    try:
        with router.route(slices), attention():
            yield
    finally:
        for (adapter, _), state in zip(adapters, after, strict=True):
            adapter.generator.set_state(state)
