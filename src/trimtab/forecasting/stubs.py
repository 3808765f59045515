"""Stand-ins with the allocation pattern of kernels that cannot run here: 4-bit linears, flash attention, Liger,
8-bit Adam.

Only what is allocated, saved and freed is meant; the values are nonsense, and under fake tensors there are none.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

HEADS = ("lm_head", "score", "classifier")  # neither quantised nor what LoRA is for


class _MatMul4Bit(torch.autograd.Function):
    """bitsandbytes' matmul_4bit: the weight is dequantised for the product, and again in backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, packed: torch.Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Any:
        ctx.shape, ctx.dtype = shape, dtype
        ctx.save_for_backward(packed)
        return F.linear(x, torch.empty(shape, dtype=dtype, device=x.device))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (g,) = grads
        return g @ torch.empty(ctx.shape, dtype=ctx.dtype, device=g.device), None, None, None


class Linear4Bit(nn.Linear):
    """NF4: two weights a byte, one absmax for 64 of them; double quantisation keeps those in 8 bits, 256 a block."""

    def __init__(self, linear: nn.Linear, double: bool):
        nn.Module.__init__(self)
        n, device = linear.weight.numel(), linear.weight.device
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.compute = linear.weight.dtype
        self.weight = nn.Parameter(torch.empty((n + 1) // 2, 1, dtype=torch.uint8, device=device), requires_grad=False)
        blocks = -(-n // 64)
        self.register_buffer(
            "absmax", torch.empty(blocks, dtype=torch.uint8 if double else torch.float32, device=device)
        )
        if double:
            self.register_buffer("absmax2", torch.empty(-(-blocks // 256), dtype=torch.float32, device=device))
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wanted = x.dtype
        y = _MatMul4Bit.apply(x.to(self.compute), self.weight, (self.out_features, self.in_features), self.compute)
        return (y if self.bias is None else y + self.bias).to(wanted)


def quantise(model: nn.Module, double: bool) -> None:
    """Every linear but the head, as bitsandbytes does."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and name not in HEADS:
                setattr(module, name, Linear4Bit(child, double))


def route_4bit(model: nn.Module) -> None:
    """PEFT has a layer of its own over bitsandbytes' linears: it clones the base's result, and leaves the input
    under autocast."""
    for module in model.modules():
        if isinstance(getattr(module, "base_layer", None), Linear4Bit):
            module.forward = types.MethodType(_adapted_4bit, module)


def _adapted_4bit(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    result = self.base_layer(x, *args, **kwargs).clone()
    for name in self.active_adapters:
        a, b = self.lora_A[name], self.lora_B[name]
        wanted, convert = result.dtype, not torch.is_autocast_enabled()
        inner = x.to(a.weight.dtype) if convert else x
        out = b(a(self.lora_dropout[name](inner))) * self.scaling[name]
        result = result + (out.to(wanted) if convert else out)
    return result


def use_flash(model: nn.Module) -> None:
    """flash-attention 2 saves q, k, v, out and the log-sum-exp, whatever the mask: torch's fused CPU kernel does the
    same."""
    from transformers import AttentionInterface, AttentionMaskInterface

    def attend(_module: Any, q: Any, k: Any, v: Any, _mask: Any, scaling: Any = None, **kwargs: Any) -> Any:
        # HF's wrapper casts float32 queries (norms in float32) down to what the linears compute in
        if q.dtype == torch.float32:
            q, k, v = (t.to(torch.bfloat16) for t in (q, k, v))
        causal = bool(kwargs.get("is_causal", getattr(_module, "is_causal", True)))
        out = F.scaled_dot_product_attention(
            q, k, v, is_causal=causal, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register("trimtab_flash", attend)
    AttentionMaskInterface.register("trimtab_flash", lambda *_, **__: None)
    for module in model.modules():
        if hasattr(module, "config") and hasattr(module.config, "_attn_implementation"):
            module.config._attn_implementation = "trimtab_flash"


class _Norm(torch.autograd.Function):
    """Liger's RMSNorm: keeps the input and one float32 a row; backward writes into the incoming gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device), weight)
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        weight = ctx.saved_tensors[2]
        return grads[0], torch.empty_like(weight) if weight.requires_grad else None


class _Gate(torch.autograd.Function):
    """Liger's SwiGLU: keeps gate and up alone, and writes their gradients over them."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.empty_like(gate)

    @staticmethod
    def backward(ctx: Any, *_grads: Any) -> Any:
        return ctx.saved_tensors


def use_liger(model: nn.Module) -> None:
    """Norms and gated MLPs by Liger; its fused head and loss are the step's business."""
    for module in model.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm") and getattr(module, "weight", None) is not None:
            module.forward = types.MethodType(lambda self, x: _Norm.apply(x, self.weight), module)
        elif all(hasattr(module, part) for part in ("gate_proj", "up_proj", "down_proj")):
            module.forward = types.MethodType(
                lambda self, x: self.down_proj(_Gate.apply(self.gate_proj(x), self.up_proj(x))), module
            )


class FusedHead(torch.autograd.Function):
    """Liger's fused linear cross-entropy: head and loss in chunks of tokens, gradients made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        tokens, hidden = x.shape
        parts = -(-weight.shape[0] // hidden)
        chunk = 1 << (max(1, -(-tokens // parts)) - 1).bit_length()
        grad_x = torch.zeros_like(x)
        grad_w = torch.zeros_like(weight) if weight.requires_grad else None
        loss = torch.zeros(tokens, dtype=torch.float32, device=x.device)
        for start in range(0, tokens, chunk):
            piece = x[start : start + chunk]
            logits = piece @ weight.t()
            grad_x[start : start + chunk] = logits @ weight
            if grad_w is not None:
                grad_w += torch.mm(logits.t(), piece)
            del logits
        ctx.grads = (grad_x, grad_w)
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, *_grads: Any) -> Any:
        return ctx.grads


class Adam8Bit(torch.optim.Optimizer):
    """bitsandbytes' block-wise Adam: two bytes a weight and a float32 each for 256; under 4,096 weights stay
    float32."""

    def __init__(self, params: Any):
        super().__init__(params, {})

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p not in self.state:
                    self.state[p] = self._moments(p)

    @staticmethod
    def _moments(p: torch.Tensor) -> dict[str, torch.Tensor]:
        if p.numel() < 4096:
            return {k: torch.zeros_like(p, dtype=torch.float32) for k in ("state1", "state2")}
        moments = {k: torch.zeros_like(p, dtype=torch.uint8) for k in ("state1", "state2")}
        return moments | {k: torch.zeros(-(-p.numel() // 256)) for k in ("absmax1", "absmax2")}


class Paged(torch.optim.Optimizer):
    """Paged optimizers keep their moments in managed memory, outside what the card's allocator counts."""

    def __init__(self, params: Any):
        super().__init__(params, {})

    def step(self) -> None:  # type: ignore[override]
        pass
