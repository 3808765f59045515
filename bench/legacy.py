"""The trace under older transformers (4.45, 4.48), so that public readings are compared with the code that they ran.

Takes workloads as JSON lines on stdin, gives traces as JSON lines. Started by bench/forecast.py with the old libraries
first on PYTHONPATH. Only bridges between the library's old names and those that trimtab knows; nothing is fitted.
"""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import torch
import transformers
from torch.nn import functional as F


def bridge() -> None:
    """Names of transformers 5 that the trace asks for, made from what the old version has."""
    from transformers import modeling_utils

    initialization = types.ModuleType("transformers.initialization")
    initialization.no_init_weights = modeling_utils.no_init_weights  # type: ignore[attr-defined]
    masking = types.ModuleType("transformers.masking_utils")
    masking.is_tracing = masking.find_packed_sequence_indices = lambda *_, **__: None  # type: ignore[attr-defined]
    for name, module in (("initialization", initialization), ("masking_utils", masking)):
        sys.modules[f"transformers.{name}"] = module
        setattr(transformers, name, module)
    for auto in (transformers.AutoModelForCausalLM, transformers.AutoModelForSequenceClassification):
        plain = auto.from_config
        auto.from_config = lambda config, dtype=None, _plain=plain, **kw: _plain(config, torch_dtype=dtype, **kw)
    if not hasattr(transformers.PretrainedConfig, "get_text_config"):
        transformers.PretrainedConfig.get_text_config = lambda self: self
    import inspect

    import peft

    real = peft.get_peft_model
    if "low_cpu_mem_usage" not in inspect.signature(real).parameters:
        peft.get_peft_model = lambda model, config, low_cpu_mem_usage=False: real(model, config)  # noqa: ARG005


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **kw: Any) -> torch.Tensor:
    """[batch, length, heads, width] as flash attention takes them; HF casts float32 queries down before."""
    if q.dtype == torch.float32:
        q, k, v = (t.to(torch.bfloat16) for t in (q, k, v))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    scale = kw.get("softmax_scale")
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return out.transpose(1, 2)


def use_flash(model: torch.nn.Module) -> None:
    """4.48 looks attention up by name; 4.45 has a class for each kind."""
    module = sys.modules[type(model).__module__]
    if any(type(part).__name__.endswith("SdpaAttention") for part in model.modules()):
        module._flash_attention_forward = flash  # type: ignore[attr-defined]
        for part in model.modules():
            name = type(part).__name__
            if name.endswith("SdpaAttention"):
                part.__class__ = getattr(module, name.replace("Sdpa", "Flash").replace("Attention", "Attention2"))
                part._flash_attn_uses_top_left_mask = False
    else:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        def attend(_self: Any, q: Any, k: Any, v: Any, _mask: Any, scaling: Any = None, **_: Any) -> Any:
            return flash(*(t.transpose(1, 2) for t in (q, k, v)), softmax_scale=scaling), None

        ALL_ATTENTION_FUNCTIONS["flash_attention_2"] = attend
    for part in model.modules():
        if hasattr(getattr(part, "config", None), "_attn_implementation"):
            part.config._attn_implementation = "flash_attention_2"


class InPlaceLoss(torch.autograd.Function):
    """fms-acceleration's fast cross-entropy: keeps the logits and a float32 a row, backward writes into the logits."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits, torch.empty(labels.shape, dtype=torch.float32), labels)
        return torch.empty(labels.shape, dtype=torch.float32).sum()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        return ctx.saved_tensors[0], None


def fast_norms(model: torch.nn.Module) -> None:
    """Triton norms, as Liger's. Of Liger itself these runs had the head and loss alone."""
    from trimtab.forecasting import stubs

    for part in model.modules():
        if type(part).__name__.endswith("RMSNorm"):
            part.forward = types.MethodType(lambda self, x: stubs._Norm.apply(x, self.weight), part)


def fast_kernels(model: torch.nn.Module) -> None:
    """Those norms and the loss above."""
    fast_norms(model)
    F.cross_entropy = lambda logits, labels, *_, **__: InPlaceLoss.apply(logits, labels)  # type: ignore[assignment]


def main() -> None:
    bridge()
    from trimtab.errors import TrimtabError
    from trimtab.forecasting import skeleton, stubs
    from trimtab.forecasting.trace import trace_config
    from trimtab.spec.workload import Workload

    stubs.use_flash, stubs.use_liger = use_flash, fast_norms
    empty, loss = skeleton._empty, F.cross_entropy
    for line in sys.stdin:
        asked = json.loads(line)
        F.cross_entropy = loss

        def build(config: Any, w: Any, task: str, fast: bool = asked["fast"]) -> Any:
            model = empty(config, w, task)
            if fast:
                fast_kernels(model)
            return model

        skeleton._empty = build
        try:
            found = trace_config(asked["config"], Workload.model_validate(asked["workload"]))
            answer = {
                "phases": found["phases"],
                "reserved": found["reserved"],
                "flops": found["flops"],
                "layers": found["layers"],
                "parameters": found["parameters"],
                "root": found["root"],
                "trainable": found["trainable"],
            }
        except TrimtabError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
