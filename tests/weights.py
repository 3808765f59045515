"""Comparing exported adapters."""

from pathlib import Path

import torch
from safetensors.torch import load_file


def same_weights(a: Path, b: Path) -> bool:
    """Whether two exported adapters are equal bit for bit."""
    x, y = load_file(a / "adapter_model.safetensors"), load_file(b / "adapter_model.safetensors")
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)
