"""A model without weights: its installed code with fake parameters. Takes a config and a workload, gives a
traced-ready model.

Built on `meta` and swapped for fake CPU parameters afterwards: moving a model under the fake mode fails, and on
`meta` attention takes its quadratic path.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import nn
from transformers import initialization

from trimtab.errors import ForecastRefused, SpecError
from trimtab.forecasting import stubs
from trimtab.run.adapters import find_targets
from trimtab.spec.workload import Workload
from trimtab.tasks.pooled_classifier import PooledClassifier, is_bare

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
AUTO = {
    "sft": transformers.AutoModelForCausalLM,
    "text-classification": transformers.AutoModelForSequenceClassification,
    "image-classification": transformers.AutoModelForImageClassification,
}


def shortened(config: Any, layers: int) -> Any:
    """The same config with fewer layers. Of lists with an entry for each layer the commonest stays, a rarer kind
    comes last."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    depth = text.num_hidden_layers
    for key, value in list(text.__dict__.items()):
        if isinstance(value, list) and len(value) == depth:
            kinds = [v for v, _ in Counter(value).most_common()]
            setattr(text, key, [kinds[0]] * (layers - 1) + [kinds[-1]])
    text.num_hidden_layers = layers
    return config


def bare(config: Any, w: Workload, task: str) -> nn.Module:
    """The model on `meta`, quantised and with adapters as the workload says, in training mode."""
    model: Any = _empty(config, w, task)
    if w.quantised:
        stubs.quantise(model, w.bnb_4bit_use_double_quant)
        if w.prepare_model_for_kbit_training:
            for p in model.parameters():
                p.data = p.data.float() if p.is_floating_point() else p.data
    model.config.use_cache = False
    if w.trainer == "transformers":
        model = _adapted(model, w) if w.trains_adapter else model
        if w.gradient_checkpointing:
            _checkpoint(model, w.use_reentrant)
    return model.train()


def _empty(config: Any, w: Workload, task: str) -> nn.Module:
    config = copy.deepcopy(config)
    _no_attention_dropout(config)
    if task != "sft":
        config.num_labels = w.num_labels
    kind = "eager" if w.attn_implementation == "eager" else "sdpa"
    try:
        with initialization.no_init_weights(), torch.device("meta"):
            pooled = task == "text-classification" and is_bare(config)
            make = PooledClassifier._from_config if pooled else AUTO[task].from_config
            model = make(config, attn_implementation=kind, dtype=DTYPES[w.dtype])
    except ValueError as error:
        if "scaled_dot_product_attention" in str(error) or "sdpa" in str(error):
            raise ForecastRefused(
                f"{config.model_type} has no sdpa attention; ask for attn_implementation: eager"
            ) from None
        raise
    if getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        model.tie_weights()  # no_init_weights leaves them apart
    if w.attn_implementation == "flash_attention_2":
        stubs.use_flash(model)
    if w.use_liger_kernel:
        stubs.use_liger(model)
    return model


def _no_attention_dropout(config: Any) -> None:
    """A card's kernels draw the mask inside; on a CPU dropout falls back to quadratic attention, which is not the
    real pattern."""
    for key in ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob"):
        if getattr(config.get_text_config(), key, 0):
            setattr(config.get_text_config(), key, 0.0)


def _adapted(model: nn.Module, w: Workload) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    kind = {"sft": "CAUSAL_LM", "text-classification": "SEQ_CLS"}.get(task_of(model))
    model.requires_grad_(False)
    # PEFT takes layers_to_transform beside names alone, not beside all-linear: the layers' own names say the same.
    targets = w.target_modules if w.layers_to_transform is None else list(_targets(model, w))
    settings: dict[str, Any] = {"lora_dropout": w.lora_dropout, "target_modules": targets, "task_type": kind}
    try:
        adapted = get_peft_model(model, LoraConfig(r=w.r, lora_alpha=2 * w.r, **settings), low_cpu_mem_usage=True)
    except ValueError as error:
        raise ForecastRefused(str(error).splitlines()[0][:200]) from None
    _check_adapted(adapted, w)
    stubs.route_4bit(adapted)
    for p in adapted.parameters():  # PEFT keeps adapters of 16-bit models in float32; on `meta` it forgets to
        if p.requires_grad:
            p.data = p.data.float()
    return adapted


def _targets(model: nn.Module, w: Workload) -> dict[str, nn.Linear]:
    heads = [m for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in stubs.HEADS]
    return find_targets(model, w.target_modules, heads, w.layers_to_transform)


def _check_adapted(model: nn.Module, w: Workload) -> None:
    bases = [(n.split("."), getattr(m, "base_layer", None)) for n, m in model.named_modules()]
    sizes = [
        min(b.in_features, b.out_features)
        for n, b in bases
        if isinstance(b, nn.Linear) and not set(n) & set(stubs.HEADS)
    ]
    if not sizes:
        raise SpecError(
            f"{w.method} of {w.model}", ["the model has no linear layer that LoRA can attach to; use method full"]
        )
    if w.r > min(sizes):
        raise SpecError(
            f"{w.method} of {w.model}",
            [f"r {w.r} is above the size of the smallest target layer ({min(sizes)}); at most {min(sizes)}"],
        )


def task_of(model: nn.Module) -> str:
    name = type(model).__name__
    return next(
        (t for t, end in (("sft", "CausalLM"), ("text-classification", "SequenceClassification"),
                          ("text-classification", "PooledClassifier"),
                          ("image-classification", "ImageClassification")) if name.endswith(end)),
        "sft",
    )  # fmt: skip


def _checkpoint(model: Any, reentrant: bool) -> None:
    if any(p.requires_grad is False for p in model.parameters()):
        model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})


def materialise(model: nn.Module) -> None:
    """Fake CPU tensors in place of those on `meta`; shared ones stay shared. To be called under the fake mode."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for name, p in list(module._parameters.items()):
            if p is not None and id(p) not in memo:
                memo[id(p)] = nn.Parameter(torch.empty(p.shape, dtype=p.dtype), requires_grad=p.requires_grad)
            if p is not None:
                module._parameters[name] = memo[id(p)]
        for name, b in list(module._buffers.items()):
            if b is not None and id(b) not in memo:
                memo[id(b)] = torch.empty(b.shape, dtype=b.dtype)
            if b is not None:
                module._buffers[name] = memo[id(b)]


def layers_of(model: nn.Module) -> tuple[str, nn.ModuleList] | None:
    """The list of equal blocks with most parameters, and its dotted name; None for convolutional models."""
    names = ("layers", "h", "layer", "blocks")
    stacks = [
        (n, m)
        for n, m in model.named_modules()
        if isinstance(m, nn.ModuleList) and n.rsplit(".", 1)[-1] in names and "expert" not in n
        and len({type(block) for block in m}) == 1 and len(m) > 1
    ]  # fmt: skip
    return max(stacks, key=lambda nm: sum(p.numel() for p in nm[1].parameters()), default=None)


@contextmanager
def as_on_a_card(masked: bool, autocast: bool) -> Iterator[None]:
    """Code that asks "am I traced?" or "is CUDA's autocast on?" must answer as it would in a real run.

    transformers builds other masks under fake tensors, PEFT's and flash attention's branches ask for CUDA's autocast.
    """
    from transformers import masking_utils

    kept = [(torch, "is_autocast_enabled", torch.is_autocast_enabled)]
    real = torch.is_autocast_enabled
    torch.is_autocast_enabled = lambda device=None: real("cpu") if autocast else real(device or "cpu")
    if not masked:
        kept += [(masking_utils, n, getattr(masking_utils, n)) for n in ("is_tracing", "find_packed_sequence_indices")]
        masking_utils.is_tracing = lambda *_, **__: False
        masking_utils.find_packed_sequence_indices = lambda *_, **__: None
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
