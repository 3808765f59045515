"""What kernels of a card do that fake CPU tensors cannot show: their transient memory, and the FLOPs of each operator.

Sources: flash-attention's backward (float32 dq accumulator over 128-row tiles, softmax_d, dk/dv expanded to the query
heads), embedding_dense_backward (sorts the indices).
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch

_FLASH_BACKWARD = "_scaled_dot_product_flash_attention_for_cpu_backward"
_FLASH = "_scaled_dot_product_flash_attention_for_cpu"


def transient(func: Any, args: Any) -> int:
    """Bytes taken only while the kernel runs."""
    name = func.__name__
    if name.startswith(_FLASH_BACKWARD):
        return flash_backward(args[1], args[2])
    if name.startswith("embedding_dense_backward"):
        return args[1].numel() * 8 * 4
    return 0


def flash_backward(q: torch.Tensor, k: torch.Tensor) -> int:
    """[batch, heads, length, width] each."""
    batch, heads, length, width = q.shape
    tiles, wide = -(-length // 128) * 128, -(-width // 32) * 32
    size = batch * heads * tiles * wide * 4 + batch * heads * tiles * 4
    if k.shape[1] != heads:
        size += 2 * batch * heads * k.shape[2] * width * q.element_size()
    return size


def flops(func: Any, args: Any, out: Any) -> int:
    """Multiply-adds count two. Causal attention counts half of the square."""
    name = func.__name__.split(".")[0]
    if name == "mm":
        return 2 * args[0].shape[0] * args[0].shape[1] * args[1].shape[1]
    if name == "addmm":
        return 2 * args[1].shape[0] * args[1].shape[1] * args[2].shape[1]
    if name == "bmm":
        return 2 * prod(args[0].shape) * args[1].shape[2]
    if name == "baddbmm":
        return 2 * prod(args[1].shape) * args[2].shape[2]
    if name == "_grouped_mm":
        return 2 * prod(args[0].shape) * args[1].shape[-1]
    if name == "convolution":
        return 2 * prod(out.shape) * prod(args[1].shape[1:])
    if name == "convolution_backward":
        return 4 * prod(args[0].shape) * prod(args[2].shape[1:])
    if name == _FLASH:
        return _attention(args[0], args[1], causal=len(args) > 4 and bool(args[4]))
    if name == _FLASH_BACKWARD:
        return _attention(args[1], args[2], causal=len(args) > 7 and bool(args[7])) * 5 // 2
    return 0


def _attention(q: torch.Tensor, k: torch.Tensor, causal: bool) -> int:
    batch, heads, length, width = q.shape
    return 4 * batch * heads * length * k.shape[2] * width // (2 if causal else 1)
