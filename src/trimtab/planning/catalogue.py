"""Known models and cards. Takes a name as people type it, gives facts or an error with the nearest names. No torch.

models.json holds the shape-deciding values of published config.json files, cards.json the makers' data sheets.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

from trimtab.errors import SpecError, did_you_mean

GIB = 2**30
# Of a card's memory the driver keeps some: of 24,564 MiB (RTX 4090) a program sees 24,217, of 81,920 (A100) 81,050.
SHOWN = 0.985


@dataclass(frozen=True)
class KnownModel:
    """`linears`: name within a layer -> (in, out); `config` as transformers takes it."""

    name: str
    config: dict[str, Any]
    parameters: int
    linears: dict[str, tuple[int, int]]
    experts: dict[str, int] | None

    @property
    def layers(self) -> int | None:
        return self.config.get("num_hidden_layers") or self.config.get("n_layer")

    @property
    def positions(self) -> int | None:
        return self.config.get("max_position_embeddings") or self.config.get("n_positions")


@dataclass(frozen=True)
class Device:
    """Memory in bytes, as the driver shows it; TFLOP/s dense; GB/s. Unknown is None."""

    name: str
    memory: int
    bf16: float | None = None
    fp16: float | None = None
    fp32: float | None = None
    bandwidth: float | None = None

    def peak(self, dtype: str) -> float | None:
        """TFLOP/s of products in this type."""
        return {"bfloat16": self.bf16 or self.fp16, "float16": self.fp16, "float32": self.fp32}[dtype]


def find_model(name: str) -> KnownModel | None:
    """By id or alias, capitals apart; None where it is not in the catalogue."""
    return _models().get(name.lower())


# Families whose layer is q, k, v, o and a gated MLP: their shapes follow from config.json.
COMMON = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "granite", "smollm3")


def model_of_config(name: str, config: dict[str, Any]) -> KnownModel | None:
    """A model outside the catalogue, where its shapes follow from its config; None for other families or odd values."""
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        width, wide = int(config.get("head_dim") or hidden // heads), int(config["intermediate_size"])
        kv, layers = int(config.get("num_key_value_heads") or heads), int(config["num_hidden_layers"])
        words = int(config["vocab_size"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if config.get("model_type") not in COMMON or min(hidden, heads, width, wide, kv, layers, words) < 1:
        return None
    linears = {
        "self_attn.q_proj": (hidden, heads * width), "self_attn.k_proj": (hidden, kv * width),
        "self_attn.v_proj": (hidden, kv * width), "self_attn.o_proj": (heads * width, hidden),
        "mlp.gate_proj": (hidden, wide), "mlp.up_proj": (hidden, wide), "mlp.down_proj": (wide, hidden),
    }  # fmt: skip
    tied = 1 if config.get("tie_word_embeddings") else 2
    parameters = layers * (sum(a * b for a, b in linears.values()) + 2 * hidden) + tied * words * hidden + hidden
    return KnownModel(name, config, parameters, linears, None)


def nearest_models(name: str, n: int = 3) -> list[str]:
    """For error texts: ids that share most with what was typed."""
    named = [key for name, row in _read("models.json").items() for key in (name, *row.get("aliases", ()))]
    endings = {key.rsplit("/", 1)[-1].lower(): key for key in reversed(named)}  # a first home before its copies
    return [endings[e] for e in get_close_matches(name.rsplit("/", 1)[-1].lower(), list(endings), n=n, cutoff=0.5)]


def model_names() -> list[str]:
    """Of every known model."""
    return sorted({m.name for m in _models().values()})


def find_device(text: str) -> tuple[Device, int]:
    """`24GB`, `RTX 4090`, `2x80GB`, `4 x A100 80GB` -> a card and how many. Raises SpecError with the nearest names."""
    parts = re.fullmatch(r"\s*(?:(\d+)\s*[x×*]\s*)?(.+?)\s*", text)
    count, name = (int(parts[1] or 1), parts[2]) if parts else (1, text)
    if count < 1:
        raise SpecError("--gpu", [f'got "{text}"; at least one card, as in 1x24GB'])
    for prefix in ("", "rtx", "gtx"):  # "4090" is a card, no size
        if device := _cards().get(prefix + _plain(name)):
            return device, count
    if size := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(g|gb|gib)?", name, re.IGNORECASE):
        if not 0 < float(size[1]) <= 2048:
            raise SpecError("--gpu", [f'got "{text}"; the memory of a card is between 1 and 2048 GB'])
        return Device(f"{float(size[1]):g} GB card", int(float(size[1]) * GIB * SHOWN)), count
    names = device_names()
    near = did_you_mean(name, names) or f"; some are {', '.join(names[:6])}"
    raise SpecError("--gpu", [f'no card "{name}" is known{near} (or give its memory, as in 24GB)'])


def device_names() -> list[str]:
    """Of every known device."""
    return [c.name for c in {c.name: c for c in _cards().values()}.values()]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("nvidia").replace("geforce", ""))


@lru_cache
def _models() -> dict[str, KnownModel]:
    by_name: dict[str, KnownModel] = {}
    for name, row in _read("models.json").items():
        linears = {k: (a, b) for k, (a, b) in row.get("linears", {}).items()}
        model = KnownModel(name, row["config"], row["parameters"], linears, row.get("experts"))
        by_name |= {key.lower(): model for key in (name, *row.get("aliases", ()))}
    return by_name


@lru_cache
def _cards() -> dict[str, Device]:
    by_name: dict[str, Device] = {}
    for name, row in _read("devices.json").items():
        device = Device(
            name, int(row["memory_mib"] * 2**20 * SHOWN), row["bf16"], row["fp16"], row["fp32"], row["bandwidth"]
        )
        by_name |= {_plain(key): device for key in (name, *row.get("aliases", ()))}
    return by_name


def _read(name: str) -> dict[str, Any]:
    return json.loads(files("trimtab.planning").joinpath(name).read_text(encoding="utf-8"))
