"""The starting rules, one numbered step each. Takes facts and what is already chosen, gives value, reason, source, range.

Numbers and formulas are read from rules.json (and makers.json), so that the page a stranger can check is the page that
decides. Published precedents, traced memory and time join here later: each rule already returns its source and range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trimtab.plan.facts import Facts


@dataclass(frozen=True)
class Setting:
    """One decided setting. `range` is what reasonable people use; None where there is no meaningful one."""

    value: Any
    reason: str
    source: str
    range: tuple[float, float] | None = None


Chosen = Mapping[str, Any]
Rule = Callable[[Facts, Chosen], dict[str, Setting]]
_TUNING = "docs/rules.md"


@cache
def table() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "rules.json").read_text(encoding="utf-8"))


@cache
def makers() -> list[dict[str, Any]]:
    return json.loads((Path(__file__).parent / "makers.json").read_text(encoding="utf-8"))


def compute(formula: str, **names: float) -> float:
    """A formula of rules.json, with clip, min, sqrt and the given names; nothing else is reachable."""
    allowed = {"clip": lambda x, low, high: min(max(x, low), high), "min": min, "sqrt": math.sqrt}
    return float(eval(formula, {"__builtins__": {}}, {**allowed, **names}))


def method(_facts: Facts, _chosen: Chosen) -> dict[str, Setting]:
    """1. LoRA, unless it is asked for otherwise."""
    return {
        "method": Setting(
            "lora",
            "forgets less than full fine-tuning and needs a fraction of its memory",
            "LoRA Learns Less and Forgets Less",
        )
    }


def adapter(facts: Facts, chosen: Chosen) -> dict[str, Setting]:
    """2. Rank, alpha, dropout and targets."""
    lora = table()["lora"]
    big = facts.label_tokens > 20_000_000
    rank = lora["rank_big_data"] if big else lora["rank"]
    scale = 2 * chosen.get("r", rank)
    short = facts.examples < 10_000
    return {
        "r": Setting(rank, f"{facts.label_tokens:,} answer tokens " + ("need room" if big else "fit a small rank"),
                     "rules.json lora.rank; sweep: rank 4 to 128 differ by 0.006 nats (median)", (8, 64)),
        "lora_alpha": Setting(float(scale), "twice the rank, the commonest choice", "rules.json lora.alpha", (scale / 2, scale)),
        "lora_dropout": Setting(0.0 if facts.device == "cpu" and short else lora["dropout"],
                                "0 to 0.05 makes little difference at few epochs; 0 is the faster", "rules.json lora.dropout", (0, 0.1)),
        "target_modules": Setting("all-linear", "all linear layers beat attention only", "LoRA Without Regret; QLoRA"),
    }  # fmt: skip


def epochs(facts: Facts, _chosen: Chosen) -> dict[str, Setting]:
    """3. Passes over the data, by its size."""
    formula = table()["epochs"]["llm_sft"]
    value = compute(formula, n=facts.examples)
    return {
        "num_train_epochs": Setting(
            round(value, 1),
            f"{facts.examples:,} examples",
            f"rules.json epochs: {formula}, 22 published runs, 68 % within 2x",
            (round(value / 2, 1), round(value * 2, 1)),
        )
    }


def batch(facts: Facts, chosen: Chosen) -> dict[str, Setting]:
    """4. Effective batch by method, lowered until there are at least 100 optimizer steps; micro-batch by device."""
    size = int(table()["batch"][chosen["method"]])
    least = table()["epochs"]["min_optimizer_steps"]
    reason = f"the usual for {chosen['method']}"
    while size > 4 and "max_steps" not in chosen and facts.examples * chosen["num_train_epochs"] / size < least:
        size //= 2
        reason = f"lowered so that the run has about {least} optimizer steps"
    rule = min(size, 8, max(1, size // chosen.get("gradient_accumulation_steps", 1)))
    micro = chosen.get("per_device_train_batch_size", rule)
    pieces = max(1, round(size / micro))
    if micro * pieces != size:
        reason = f"the nearest to {size} ({reason}) with your micro-batch"
    return {
        "per_device_train_batch_size": Setting(rule, "processor and small cards gain nothing from more" if facts.device == "cpu"
                                               else "a cautious start until memory is forecast", _TUNING, (1, size)),
        "gradient_accumulation_steps": Setting(pieces, f"effective batch {micro * pieces}: {reason}", "rules.json batch", (1, size)),
    }  # fmt: skip


def learning_rate(facts: Facts, chosen: Chosen) -> dict[str, Setting]:
    """5. The rate: the model's own makers first, else the rule for method and size; then √batch from its reference batch."""
    effective = chosen["per_device_train_batch_size"] * chosen["gradient_accumulation_steps"]
    value, source, reason = _maker_rate(facts, chosen, effective) or _rule_rate(facts, chosen, effective)
    return {"learning_rate": Setting(_round(value), reason, source, (_round(value / 5), _round(value * 5)))}


def _maker_rate(facts: Facts, chosen: Chosen, effective: int) -> tuple[float, str, str] | None:
    name = f"{facts.model} {facts.model_name}".lower()
    for recipe in makers():
        if all(part in name for part in recipe["matches"]):
            times = 10 if chosen["method"] == "lora" and recipe["method"] == "full" else 1
            value = recipe["learning_rate"] * times * math.sqrt(effective / recipe["batch"])
            step = ", ten times that for LoRA (LoRA Without Regret)" if times == 10 else ""
            reason = (
                f"the model's makers use {recipe['learning_rate']:g} for full fine-tuning at batch {recipe['batch']}{step}, "
                f"times √({effective}/{recipe['batch']})"
            )
            return value, recipe["source"], reason
    return None


def _rule_rate(facts: Facts, chosen: Chosen, effective: int) -> tuple[float, str, str]:
    rules = {r["when"]: r for r in table()["lr"]}
    if chosen["method"] == "full":
        rule = rules["llm full (sft, vlm-sft, cpt)"]
        value = compute(rule["formula"], N_B=facts.billions)
    elif facts.hidden_size:
        rule = rules["llm lora/qlora, hidden size known"]
        value = compute(rule["formula"], h=facts.hidden_size, B=effective)
        return (
            value,
            f"rules.json: {rule['formula']} (fit to a sweep of 35 models)",
            f"LoRA on hidden size {facts.hidden_size}, batch {effective}",
        )
    else:
        value, rule = (2e-4 if facts.billions <= 40 else 1e-4), rules["llm lora/qlora"]
    most = table()["lr_batch_scaling"]["max_factor"]
    factor = min(most, max(1 / most, math.sqrt(effective / rule["ref_batch"])))
    return (
        value * factor,
        f"rules.json: {rule['formula']}",
        f"{facts.billions:.2g}B parameters, times √({effective}/{rule['ref_batch']})",
    )


def schedule(_facts: Facts, _chosen: Chosen) -> dict[str, Setting]:
    """6. Warm-up, decay, weight decay and clipping."""
    rules = table()
    return {
        "lr_scheduler_type": Setting(rules["scheduler"], "decays to zero, so that the end of the run is comparable", "rules.json scheduler"),
        "warmup_steps": Setting(rules["warmup_ratio"]["llm"], "as a share of all steps", "rules.json warmup_ratio", (0.03, 0.1)),
        "weight_decay": Setting(rules["weight_decay"]["llm"], "has no effect on LoRA at usual rates and run lengths",
                                "rules.json weight_decay; Wang & Aitchison time scale", (0, 0.1)),
        "max_grad_norm": Setting(rules["max_grad_norm"], "the usual", "rules.json max_grad_norm", (0.3, 1.0)),
    }  # fmt: skip


def length(facts: Facts, _chosen: Chosen) -> dict[str, Setting]:
    """7. Cutoff: the 99th percentile rounded up to 64 (128 above 4k), never above the model's positions."""
    grain = 128 if facts.length_99 > 4096 else 64
    wanted = max(grain, math.ceil(facts.length_99 / grain) * grain)
    if facts.length_max <= wanted * 1.1:
        wanted = max(grain, math.ceil(facts.length_max / grain) * grain)
    value = min(wanted, facts.positions or wanted)
    held = (
        "all examples fit"
        if facts.length_max <= value
        else f"99 % of examples fit; the longest has {facts.length_max:,} tokens"
    )
    return {
        "max_length": Setting(
            value, held, f"rules.json cutoff: {table()['cutoff']}", (facts.length_99, max(value, facts.length_max))
        )
    }


def precision(facts: Facts, _chosen: Chosen) -> dict[str, Setting]:
    """8. bfloat16 where this machine computes it in hardware."""
    return {
        "bf16": Setting(
            facts.bf16,
            "this machine has bfloat16 in hardware" if facts.bf16 else "no fast bfloat16 here: float32",
            "measured: 1.5 to 2.2 times faster on processors with AVX512-BF16",
        )
    }


STEPS: tuple[Rule, ...] = (method, adapter, epochs, batch, learning_rate, schedule, length, precision)


def _round(value: float) -> float:
    """Two significant digits: the band is far wider than that."""
    return float(f"{value:.1e}")
