"""Making it fit: method, trainer, cutoff, micro-batch and what saves memory, by asking the forecast. No torch.

Ways to fit are tried from the best to the most frugal; the first that fits with one example at a time is taken. In it the
micro-batch grows as far as it fits and is worth it, and only then are activations kept instead of recomputed. So more memory
never gives a shorter cutoff, nor, within one way, a smaller micro-batch; the effective batch never depends on memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from trimtab.errors import PlanError
from trimtab.plan.facts import TRAINED_HERE, Facts
from trimtab.spec.workload import Workload

SHORTEST = 512
SATURATED = 8192  # tokens a pass: beyond it a card is busy anyway, and a bigger micro-batch buys nothing
ON_PROCESSOR = 8


class Answer(Protocol):
    """What is needed of a forecast."""

    @property
    def fits(self) -> bool: ...
    @property
    def used(self) -> int: ...
    @property
    def seconds(self) -> tuple[float, float, float] | None: ...  # of one optimizer step: middle, low, high
    def as_dict(self) -> dict[str, Any]: ...


Ask = Callable[[Workload], Answer]


@dataclass(frozen=True)
class Way:
    """One way to run it; `why` in words, empty for the plain one."""

    method: str
    trainer: str
    max_length: int
    changes: tuple[tuple[str, Any], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Fitted:
    way: Way
    micro: int
    accumulation: int
    checkpointing: bool
    answer: Answer | None
    tried: int


def fit(facts: Facts, chosen: Mapping[str, Any], ask: Ask | None) -> Fitted:
    """`chosen` holds method ("auto" or one), max_length, effective_batch and what a person fixed. PlanError if nothing fits."""
    sizes = _micro_batches(facts, chosen)
    if ask is None:
        return _unasked(facts, chosen, sizes)
    seen: list[tuple[Way, Answer]] = []
    asked = lru_cache(maxsize=None)(lambda way, micro, kept: ask(workload(facts, chosen, way, micro, kept)))
    own = chosen.get("gradient_checkpointing")
    kept = own is False  # activations; at first only where a person says so
    for way in ways(facts, chosen):
        first = asked(way, sizes[-1], kept)
        seen.append((way, first))
        if first.fits:
            micro = next(m for m in sizes if asked(way, m, kept).fits)
            keep = kept or (own is None and asked(way, micro, True).fits)
            pieces = max(1, chosen["effective_batch"] // (micro * facts.devices))
            return Fitted(way, micro, pieces, not keep, asked(way, micro, keep), asked.cache_info().misses)
    raise _nothing(facts, chosen, seen)


def ways(facts: Facts, chosen: Mapping[str, Any]) -> Iterator[Way]:
    """From the best to the most frugal: plain, fused head, sharded, 4-bit, shorter."""
    method, cutoff = chosen["method"], chosen["max_length"]
    first = "lora" if method == "auto" else method
    trainer = chosen.get("trainer")
    here = first != "qlora" and facts.devices == 1 and facts.task in TRAINED_HERE and trainer != "transformers"
    last = Way(first, "trimtab", cutoff)
    if here:
        yield last
    for name in ("lora", "qlora") if method == "auto" else (method,):
        for changes, why in _savers(name, facts, here) if trainer != "trimtab" else ():
            last = Way(name, "transformers", cutoff, changes, why)
            yield last
    while cutoff > SHORTEST and "max_length" not in chosen.get("own", ()):
        cutoff = max(SHORTEST, cutoff // 2 // 64 * 64)
        yield Way(last.method, last.trainer, cutoff, last.changes, _words(last.why, "cutoff shortened to fit"))


def _savers(method: str, facts: Facts, here: bool) -> Iterator[tuple[tuple[tuple[str, Any], ...], str]]:
    """Changes of a Workload, with words; each saves more than the one before."""
    liger = (("use_liger_kernel", True),)
    bits = "4-bit base, which our own loop does not train" if method == "qlora" else ""
    if facts.device == "cpu":
        if not here:
            yield (), bits
        return
    if facts.devices > 1:
        kinds = ("ddp", "zero2", "zero3") if method == "full" else ("ddp", "zero3") if method == "lora" else ("ddp",)
        for kind in kinds:
            words = {
                "ddp": "a copy on every card",
                "zero2": "ZeRO-2: optimizer and gradients shared out",
                "zero3": "ZeRO-3: weights shared out too",
            }
            yield (("sharding", kind),), _words(bits, words[kind])
            yield (("sharding", kind), *liger), _words(bits, words[kind], "Liger kernels")
        return
    if not here:
        yield (), bits
    yield liger, _words(bits, "Liger kernels: the logits are never whole in memory")
    if method == "full":
        small = (("optim", "adamw_bnb_8bit"), *liger)
        yield small, "8-bit optimizer states and Liger kernels"
        yield (("optim", "paged_adamw_8bit"), *liger), "8-bit optimizer states in host memory and Liger kernels"
        yield (("sharding", "zero3"), ("offload", True), *liger), "ZeRO-3 with weights and optimizer in host memory"


def _words(*parts: str) -> str:
    return ", ".join(p for p in parts if p)


def workload(facts: Facts, chosen: Mapping[str, Any], way: Way, micro: int, keep: bool) -> Workload:
    """What is forecast: the longest batch, `keep` keeps activations instead of recomputing them."""
    full, cuda = way.method == "full", facts.device == "cuda"
    ours = way.trainer == "trimtab"
    half = "bfloat16" if facts.bf16 else "float16"
    weights = (
        "float32"
        if (full and ours) or (ours and not facts.bf16) or (not cuda and not facts.bf16) or (full and half == "float16")
        else half
    )
    mixed = ("bf16" if facts.bf16 else "fp16") if cuda and not ours else "bf16" if full and facts.bf16 else "no"
    return Workload.model_validate({
        "model": facts.model, "trainer": way.trainer, "method": way.method, "device": facts.device, "dtype": weights, "autocast": mixed,
        "per_device_train_batch_size": micro, "gradient_accumulation_steps": max(1, chosen["effective_batch"] // (micro * facts.devices)),
        "max_length": max(1, min(way.max_length, facts.length_max)), "padded": micro > 1, "r": chosen["r"],
        "target_modules": chosen["target_modules"], "lora_dropout": chosen["lora_dropout"], "gradient_checkpointing": not keep,
        "optim": "adamw_torch" if ours else "adamw_torch_fused", "per_device_eval_batch_size": 16 if ours else micro,
        "devices": facts.devices, "examples": facts.examples, "num_train_epochs": chosen["num_train_epochs"],
        "max_steps": chosen.get("max_steps", -1), "mean_length": max(1.0, min(facts.mean_length, way.max_length)),
        **({"task": "sequence-classification"} if facts.task == "classification" else {}), **dict(way.changes),
    })  # fmt: skip


def _micro_batches(facts: Facts, chosen: Mapping[str, Any]) -> list[int]:
    """The divisors of a device's share that are worth trying, the largest first; just the person's own where there is one."""
    if fixed := chosen.get("per_device_train_batch_size"):
        return [fixed]
    share = chosen["effective_batch"] // facts.devices
    if pieces := chosen.get("gradient_accumulation_steps"):
        return [max(1, share // pieces)]
    typical = max(1.0, min(facts.mean_length, chosen["max_length"]))
    most = ON_PROCESSOR if facts.device == "cpu" else max(1, int(SATURATED / typical))
    return [m for m in range(min(share, most), 0, -1) if share % m == 0]


def _unasked(facts: Facts, chosen: Mapping[str, Any], sizes: list[int]) -> Fitted:
    """Where no forecast can be asked: a cautious micro-batch."""
    method = "lora" if chosen["method"] == "auto" else chosen["method"]
    ours = method != "qlora" and facts.devices == 1 and facts.task in TRAINED_HERE
    micro = sizes[0] if facts.device == "cpu" else next((m for m in sizes if m <= 8), sizes[-1])
    pieces = max(1, chosen["effective_batch"] // (micro * facts.devices))
    way = Way(method, "trimtab" if ours else "transformers", chosen["max_length"])
    return Fitted(way, micro, pieces, bool(chosen.get("gradient_checkpointing", False)), None, 0)


def _nothing(facts: Facts, chosen: Mapping[str, Any], seen: list[tuple[Way, Answer]]) -> PlanError:
    """What would be nearest to fitting."""
    way, answer = min(seen, key=lambda pair: pair[1].used)
    gb = answer.used / 2**30
    card = facts.card or facts.device
    most = facts.memory_gb
    asked = "LoRA or 4-bit LoRA" if chosen["method"] == "auto" else chosen["method"]
    own = [
        k for k in ("per_device_train_batch_size", "gradient_checkpointing", "max_length") if k in chosen.get("own", ())
    ]
    yours = f"; your {', '.join(own)} stand in the way of smaller ones" if own else ""
    other = "" if chosen["method"] in ("auto", "qlora") or facts.device == "cpu" else ", or --method qlora"
    return PlanError(
        f"{facts.model} does not fit {card} ({most:.0f} GB) by {asked}: the most frugal way that was tried ({way.why or way.method}, "
        f"{way.max_length} tokens) needs {gb:.1f} GiB and a margin; nearest that would work: a card of {_card_size(gb)} GB"
        f"{', several cards (--gpu 2x' + f'{_card_size(most):d}GB)' if facts.devices == 1 and facts.device == 'cuda' else ''}"
        f"{other}, or a model of about {facts.billions * most / gb / 1.25:.1g}B parameters{yours}"
    )


def _card_size(gb: float) -> int:
    """The next size that is sold."""
    return next((s for s in (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192) if s >= gb * 1.15), int(gb * 1.15) + 1)
