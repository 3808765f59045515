"""Making it fit: method, trainer, cutoff, micro-batch and what saves memory, by asking the forecast. No torch.

Ways to fit are tried from the best to the most frugal; the first that fits with one example at a time is taken. In
it activations are kept where a pass stays busy, else recomputed, and the micro-batch grows as far as it fits and is
worth it. So more memory never gives a shorter cutoff, and the effective batch never depends on memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from trimtab.errors import PlanError
from trimtab.planning.facts import PAIRED, Facts
from trimtab.spec.words import CLASSIFIERS, TRAINED_HERE
from trimtab.spec.workload import Workload, loop_precision

SHORTEST = 512
# Tokens a pass. Practice on cards, not measured by us: from BUSY on one is worth keeping activations for, beyond
# SATURATED more buys nothing.
BUSY, SATURATED = 2048, 8192
ON_PROCESSOR, FILLED = 8, 512  # rows in a pass of a processor, or tokens: 32 rows of 13 took 223 µs a token, 8 512 µs
# Pixels a pass. Measured on a processor: 16 pictures of 96 × 96 take the least each in float32, 32 in bfloat16. Of a
# card a guess: so many times as many.
PIXELS, ON_A_CARD = 150_000, 16


class FitAnswer(Protocol):
    """What is needed of a forecast."""

    @property
    def fits(self) -> bool: ...
    @property
    def used(self) -> int: ...
    @property
    def seconds(self) -> tuple[float, float, float] | None: ...  # of one optimizer step: middle, low, high
    def as_dict(self) -> dict[str, Any]: ...


Forecaster = Callable[[Workload], FitAnswer]


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
    answer: FitAnswer | None


def fit(facts: Facts, chosen: Mapping[str, Any], ask: Forecaster | None) -> Fitted:
    """`chosen` holds method ("auto" or one), max_length, effective_batch and what a person fixed. PlanError if
    nothing fits."""
    sizes = _micro_batches(facts, chosen)
    if ask is None:
        return _unasked(facts, chosen, sizes)
    asked = lru_cache(maxsize=None)(lambda way, micro, kept: ask(workload(facts, chosen, way, micro, kept)))
    # many convolutional networks cannot recompute, and the others are small
    own = chosen.get("gradient_checkpointing", False if facts.task == "image-classification" else None)
    seen: list[tuple[Way, FitAnswer]] = []
    for way in _candidates(facts, chosen, lambda w: asked(w, sizes[-1], own is False).fits):
        seen.append((way, asked(way, sizes[-1], own is False)))
        if seen[-1][1].fits:
            micro, kept = _pass(sizes, way, asked, own, facts)
            pieces = max(1, chosen["effective_batch"] // (micro * facts.devices))
            return Fitted(way, micro, pieces, not kept, asked(way, micro, kept))
    raise _nothing(facts, chosen, seen, ask)


def _candidates(facts: Facts, chosen: Mapping[str, Any], fits: Callable[[Way], bool]) -> Iterator[Way]:
    """All ways at the wanted cutoff; then the most frugal one at the longest cutoff that fits, where a person has
    not fixed it."""
    last = None
    for last in ways(facts, chosen):
        yield last
    lengths = list(range((chosen["max_length"] - 1) // 64 * 64, SHORTEST - 1, -64))
    if last is None or not lengths or "max_length" in chosen.get("own", ()):
        return
    shorter = lambda n: Way(last.method, last.trainer, n, last.changes, _words(last.why, "cutoff shortened to fit"))  # noqa: E731
    yield shorter(_largest(lengths, lambda n: fits(shorter(n))) if fits(shorter(lengths[-1])) else lengths[-1])


def _pass(
    sizes: list[int], way: Way, asked: Callable[..., FitAnswer], own: bool | None, facts: Facts
) -> tuple[int, bool]:
    """(micro-batch, whether activations are kept). Keeping them saves a third of the time, so it comes first where a
    pass stays busy."""
    if own is not None:
        return _largest(sizes, lambda m: asked(way, m, not own).fits), not own
    typical = facts.mean_length_at(way.max_length)
    busy = [m for m in sizes if m * typical >= BUSY or m == sizes[0]]
    if asked(way, busy[-1], True).fits:
        return _largest(busy, lambda m: asked(way, m, True).fits), True
    return _largest(sizes, lambda m: asked(way, m, False).fits), False


def _largest(sizes: list[int], fits: Callable[[int], bool]) -> int:
    """Of falling sizes whose last is known to fit, the first that does: by halves, since each question costs a
    trace."""
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(sizes[middle]) else (middle + 1, high)
    return sizes[high]


def ways(facts: Facts, chosen: Mapping[str, Any]) -> Iterator[Way]:
    """From the best to the most frugal: plain, fused head, sharded, 4-bit."""
    method, cutoff = chosen["method"], chosen["max_length"]
    first = "lora" if method == "auto" else method
    trainer = chosen.get("trainer")
    here = first != "qlora" and facts.devices == 1 and facts.task in TRAINED_HERE and trainer != "transformers"
    if here:
        yield Way(first, "trimtab", cutoff)
    for name in ("lora", "qlora") if method == "auto" else (method,):
        for changes, why in _savers(name, facts, here) if trainer != "trimtab" else ():
            yield Way(name, "transformers", cutoff, changes, why)


OFFLOADED = (("sharding", "zero3"), ("offload", True), ("use_liger_kernel", True))


def _savers(method: str, facts: Facts, here: bool) -> Iterator[tuple[tuple[tuple[str, Any], ...], str]]:
    """Changes of a Workload, with words; each saves more than the one before."""
    liger = (("use_liger_kernel", True),)
    bits = "4-bit base" if method == "qlora" else ""
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
        if method == "full":
            yield OFFLOADED, "ZeRO-3 with weights and optimizer in host memory"
        return
    yield (), bits
    yield liger, _words(bits, "Liger kernels: the logits are never whole in memory")
    if method == "full":
        small = (("optim", "adamw_bnb_8bit"), *liger)
        yield small, "8-bit optimizer states and Liger kernels"
        yield (("optim", "paged_adamw_8bit"), *liger), "8-bit optimizer states in host memory and Liger kernels"
        yield OFFLOADED, "ZeRO-3 with weights and optimizer in host memory"


def _words(*parts: str) -> str:
    return ", ".join(p for p in parts if p)


def workload(facts: Facts, chosen: Mapping[str, Any], way: Way, micro: int, keep: bool) -> Workload:
    """What is forecast: the longest batch, `keep` keeps activations instead of recomputing them."""
    full, cuda = way.method == "full", facts.device == "cuda"
    ours = way.trainer == "trimtab"
    half = "bfloat16" if facts.bf16 else "float16"
    longest = max(1, min(way.max_length, round(facts.length_max * facts.length_margin)))
    weights: str
    mixed: str
    if ours:
        weights, mixed = loop_precision(full, facts.bf16)
    else:
        weights = "float32" if (not cuda and not facts.bf16) or (full and half == "float16") else half
        mixed = ("bf16" if facts.bf16 else "fp16") if cuda else "bf16" if full and facts.bf16 else "no"
    return Workload.model_validate(
        {
            "model": facts.model,
            "trainer": way.trainer,
            "method": way.method,
            "device": facts.device,
            "dtype": weights,
            "autocast": mixed,
            "per_device_train_batch_size": micro * (2 if facts.task in PAIRED else 1),
            "gradient_accumulation_steps": max(1, chosen["effective_batch"] // (micro * facts.devices)),
            "max_length": longest,
            "labels": _labels(facts, longest, micro) if ours else None,
            "padded": micro > 1,
            **{k: chosen[k] for k in ("r", "target_modules", "lora_dropout") if k in chosen},
            "gradient_checkpointing": not keep,
            "optim": "adamw_torch" if ours else "adamw_torch_fused",
            "per_device_eval_batch_size": 16 if ours else micro,
            "devices": facts.devices,
            "examples": facts.examples,
            "num_train_epochs": chosen["num_train_epochs"],
            "max_steps": chosen.get("max_steps", -1),
            "mean_length": min(float(longest), facts.mean_length_at(way.max_length)),
            **({"task": facts.task} if facts.task in CLASSIFIERS else {}),
            **dict(way.changes),
        }
    )


def _labels(facts: Facts, longest: int, micro: int) -> float | None:
    """Learned tokens of a row of the longest micro-batch: our loop computes logits only there. What is cut is cut
    from the answer."""
    if rows := facts.longest[:micro]:
        return sum(max(1, min(answer, longest - whole + answer)) for whole, answer in rows) / len(rows)
    if facts.labels_longest is None:
        return None
    return float(max(1, min(longest, facts.labels_longest - (facts.length_max - longest))))


def _micro_batches(facts: Facts, chosen: Mapping[str, Any]) -> list[int]:
    """The divisors of a device's share that are worth trying, the largest first; just the person's own where there
    is one."""
    if fixed := chosen.get("per_device_train_batch_size"):
        return [fixed]
    share = chosen["effective_batch"] // facts.devices
    if pieces := chosen.get("gradient_accumulation_steps"):
        return [max(1, share // pieces)]
    typical = facts.mean_length_at(chosen["max_length"])
    rows, tokens = (ON_PROCESSOR, FILLED) if facts.device == "cpu" else (1, SATURATED)
    if facts.task == "image-classification":  # `typical` pixels a side
        tokens = int(PIXELS / typical) * (1 if facts.device == "cpu" else ON_A_CARD)
    most = max(rows, int(tokens / typical))
    return [m for m in range(min(share, most), 0, -1) if share % m == 0]


def _unasked(facts: Facts, chosen: Mapping[str, Any], sizes: list[int]) -> Fitted:
    """Where no forecast can be asked: a cautious micro-batch."""
    method = "lora" if chosen["method"] == "auto" else chosen["method"]
    ours = method != "qlora" and facts.devices == 1 and facts.task in TRAINED_HERE
    micro = sizes[0] if facts.device == "cpu" else next((m for m in sizes if m <= 8), sizes[-1])
    pieces = max(1, chosen["effective_batch"] // (micro * facts.devices))
    way = Way(method, "trimtab" if ours else "transformers", chosen["max_length"])
    return Fitted(way, micro, pieces, bool(chosen.get("gradient_checkpointing", False)), None)


def _nothing(facts: Facts, chosen: Mapping[str, Any], seen: list[tuple[Way, FitAnswer]], ask: Forecaster) -> PlanError:
    """What would be nearest to fitting; more cards of the kind are named only where the forecast says that they
    would do."""
    way, answer = min(seen, key=lambda pair: pair[1].used)
    gb = answer.used / 2**30
    most = facts.memory_gib
    where = (
        f"the {facts.device_name or facts.device}{'s' if facts.devices > 1 else ''} ({most:.1f}"
        f" GiB{' each' if facts.devices > 1 else ''})"
    )
    asked = "LoRA or 4-bit LoRA" if chosen["method"] == "auto" else chosen["method"]
    own = [
        k for k in ("per_device_train_batch_size", "gradient_checkpointing", "max_length") if k in chosen.get("own", ())
    ]
    yours = f"; your {', '.join(own)} {'stand' if len(own) > 1 else 'stands'} in the way of less" if own else ""
    other = "" if chosen["method"] in ("auto", "qlora") or facts.device == "cpu" else ", or --method qlora"
    return PlanError(
        f"{facts.model} does not fit {where} by {asked}: the most frugal way that was tried ({way.why or way.method},"
        f" {way.max_length} tokens) needs {gb:.1f} GiB{' a card' if facts.devices > 1 else ''} and a margin; nearest"
        f" that would work: {f'{facts.devices} cards' if facts.devices > 1 else 'a card'} of {_card_size(gb)}"
        f" GB{_more_cards(facts, chosen, ask)}{other}, or a model of about {_rough(facts.billions * most / gb / 1.25)}B"
        f" parameters{yours}"
    )


def _more_cards(facts: Facts, chosen: Mapping[str, Any], ask: Forecaster) -> str:
    if facts.device != "cuda":
        return ""
    for count in (n for n in (2, 4, 8) if n > facts.devices):
        more = replace(facts, devices=count)
        wanted = {**chosen, "effective_batch": max(1, round(chosen["effective_batch"] / count)) * count}
        if any(ask(workload(more, wanted, way, 1, False)).fits for way in ways(more, wanted)):
            return f", {count} cards like this one"
    return ""


def _rough(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _card_size(gb: float) -> int:
    """The next size that is sold."""
    return next((s for s in (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192) if s >= gb * 1.15), int(gb * 1.15) + 1)
