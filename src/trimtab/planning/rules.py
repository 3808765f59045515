"""The starting rules, one numbered step each. Takes facts and what is already chosen, gives value, reason, source,
range.

Numbers and formulas are read from rules.json, published practice from recipes.csv, measured rates from sweep.csv, so
that the pages a stranger can check are the pages that decide. Memory comes from the forecast that is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from trimtab.planning import rates
from trimtab.planning.facts import Facts
from trimtab.planning.fitting import Forecaster, Way, fit
from trimtab.planning.published_values import practice, precedents_of, query_of
from trimtab.planning.rule_table import compute, table
from trimtab.planning.setting import Setting
from trimtab.spec.words import TRAINED_HERE

Chosen = dict[str, Any]
Rule = Callable[[Facts, Chosen, Forecaster | None], dict[str, Setting]]
CSV = "recipes.csv"
PROBED = 3.0  # epochs of a classifier whose head begins at the frozen probe
APART = 4  # as in the data report: a 99th percentile this many times the 95th belongs to the tail


def method(facts: Facts, _chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """1. LoRA for language models, full for small encoders and vision on a card, unless it is asked for otherwise;
    4-bit only where needed."""
    if facts.task == "text-classification" and facts.device == "cpu":
        return {
            "method": Setting(
                "lora",
                "as good as all weights from the frozen probe on, in half the time: on a processor their update takes"
                " as long as the passes",
                "bench/results/classifier-start.md",
            )
        }
    if facts.task in ("image-classification", "text-classification") and facts.billions < 1.5:
        return {
            "method": Setting(
                "full", "small encoders and vision models are trained whole", "recipes.csv: most of their rows"
            )
        }
    return {
        "method": Setting(
            "auto",
            "LoRA forgets less than full fine-tuning and needs a fraction of its memory; 4-bit where it must be",
            "LoRA Learns Less and Forgets Less",
        )
    }


def adapter(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """2. Rank, alpha, dropout and targets; nothing where all weights are trained."""
    if chosen["method"] == "full":
        return {}
    lora, near = table()["lora"], precedents_of(facts, chosen)
    big = facts.label_tokens > 20_000_000
    rank = lora["rank_big_data"] if big else lora["rank"]
    alpha = 2.0 * chosen.get("r", rank)
    worn = facts.examples < 10_000 and epochs_of(facts) >= 3
    dropout = lora["dropout"] if worn and facts.device != "cpu" else 0.0
    return {
        "r": Setting(
            rank,
            f"{facts.label_tokens:,} {'answer tokens' if facts.instruct is not None else 'units'} "
            + ("need room" if big else "fit a small rank")
            + "; from 4 to 128 it changes the loss by 0.006 nats (median of 35 models)",
            "rules.json lora.rank; sweep.csv",
            (8, 64),
            practice(near, "r"),
        ),
        "lora_alpha": Setting(
            alpha,
            "twice the rank, the commonest choice",
            "rules.json lora.alpha",
            (alpha / 2, alpha),
            practice(near, "lora_alpha"),
        ),
        "lora_dropout": Setting(
            dropout,
            (
                "few examples, several times: a little"
                if dropout
                else "0 is the faster, and up to 0.05 makes little difference"
            ),
            "rules.json lora.dropout",
            (0, 0.1),
            practice(near, "lora_dropout"),
        ),
        "target_modules": Setting("all-linear", "all linear layers beat attention only", "LoRA Without Regret; QLoRA"),
    }


def length(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """3. Cutoff: the 99th percentile rounded up to 64 (128 above 4k), never above the model's positions."""
    if facts.task == "image-classification":
        return {
            "max_length": Setting(
                facts.length_99,
                "pixels a side, as the model was given pictures before; smaller ones are made larger",
                "config.json image_size",
            )
        }
    tail = facts.length_95 is not None and facts.length_99 > APART * facts.length_95
    nearly, longest = (
        math.ceil(n * facts.length_margin)
        for n in (facts.length_95 if tail and facts.length_95 else facts.length_99, facts.length_max)
    )
    grain = 128 if nearly > 4096 else 64
    wanted = max(grain, math.ceil(nearly / grain) * grain)
    if longest <= wanted * 1.1:
        wanted = max(grain, math.ceil(longest / grain) * grain)
    value = min(wanted, facts.positions or wanted)
    held = f"99 % of examples fit; the longest has {facts.length_max:,} tokens"
    if tail and nearly <= value:
        held = (
            f"95 % of examples fit; the 99th percentile, {facts.length_99:,} tokens, would set the memory of every run"
            " for a few: drop or split those"
        )
    elif facts.length_99 > value:
        held = f"all the positions that the model has; 1 % of examples are longer than {facts.length_99:,} tokens"
    if longest <= value:
        held = "all examples fit"
    if facts.length_margin > 1:
        held += f" (by estimated lengths and {facts.length_margin - 1:.0%})"
    near = precedents_of(facts, chosen)
    return {
        "max_length": Setting(
            value,
            held,
            f"rules.json cutoff: {table()['cutoff']}",
            (min(nearly, value), max(value, min(facts.length_max, facts.positions or facts.length_max))),
            practice(near, "max_length"),
        )
    }


def epochs(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """4. Passes over the data, by its size; at most three where risk is tight."""
    formula, value = epochs_formula(facts), epochs_of(facts)
    reason = f"{facts.examples:,} examples"
    if facts.risk == "tight" and value > 3:
        value, reason = 3.0, f"{reason} would bear {value:.1f}; more passes entrench, and risk is tight"
    probed = facts.task == "text-classification" and chosen.get("method") == "lora"
    if probed or (facts.task == "image-classification" and facts.billions < rates.SMALL_NETWORK):
        start = "from the frozen probe on two beat four on two of three sets of 1,000 examples"
        source = "bench/results/classifier-start.md"
        if not probed:
            start, source = (
                "from the frozen probe on, what was measured of small networks",
                "bench/results/image-start.md",
            )
        return {"num_train_epochs": Setting(min(value, PROBED), start, source, (1.0, 2 * PROBED),
                                            practice(precedents_of(facts, chosen), "num_train_epochs"))}  # fmt: skip
    source = f"rules.json epochs: {formula}" + (
        ", 22 published runs, 68 % within 2x"
        if facts.task not in ("text-classification", "image-classification")
        else ""
    )
    return {"num_train_epochs": Setting(round(value, 1), reason, source, (round(value / 2, 1), round(value * 2, 1)),
                                        practice(precedents_of(facts, chosen), "num_train_epochs"))}  # fmt: skip


def batch(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """5. Effective batch by method, lowered until there are at least 100 optimizer steps, a multiple of the devices."""
    kind = (
        "cls"
        if facts.task == "text-classification"
        else (
            "vision"
            if facts.task == "image-classification"
            else "lora"
            if chosen["method"] == "auto"
            else chosen["method"]
        )
    )
    size, least = int(table()["batch"][kind]), table()["epochs"]["min_optimizer_steps"]
    reason = f"the usual for {kind if kind != 'cls' else 'classifiers'}"
    while size > 4 and "max_steps" not in chosen and facts.examples * chosen["num_train_epochs"] / size < least:
        size //= 2
        reason = f"lowered so that the run has about {least} optimizer steps"
    size = max(1, round(size / facts.devices)) * facts.devices
    fixed = [chosen.get(k) for k in ("per_device_train_batch_size", "gradient_accumulation_steps")]
    if all(fixed):
        size, reason = fixed[0] * fixed[1] * facts.devices, "your micro-batch and accumulation"  # type: ignore[operator]
    elif unit := next((f * facts.devices for f in fixed if f), None):
        nearest_to = max(1, round(size / unit)) * unit
        reason = reason if nearest_to == size else f"the nearest to {size} ({reason}) with yours"
        size = nearest_to
    return {"effective_batch": Setting(size, reason, "rules.json batch", (max(1, size // 2), size * 4),
                                       practice(precedents_of(facts, chosen), "effective_batch"))}  # fmt: skip


def memory(facts: Facts, chosen: Chosen, ask: Forecaster | None) -> dict[str, Setting]:
    """6. What fits: method, trainer, cutoff, micro-batch, accumulation, checkpointing, fused kernels, sharding."""
    fitted = fit(facts, chosen, ask)
    way, answer, changes = fitted.way, fitted.answer, dict(fitted.way.changes)
    source = "forecast of peak memory" if answer else "a cautious start"
    amount = (
        f"{answer.used / 2**30:.1f} of {facts.memory_gib:.1f} GiB by the forecast"
        if answer
        else "no forecast could be asked"
    )
    room = f"{facts.device_name or 'this machine'}: {amount}"
    where = " in our own loop" if way.trainer == "trimtab" else ""
    micro = (
        "a processor gains nothing from more"
        if facts.device == "cpu"
        else f"the largest that fits{where} and is worth it"
    )
    kept = "activations fit: no need to compute them twice"
    recomputed = "kept activations would not fit; costs a third more time"
    product = (
        f"effective batch {chosen['effective_batch']} = {fitted.micro} × {fitted.accumulation} × {facts.devices}"
        f" device{'s' if facts.devices > 1 else ''}"
    )
    most = (1, chosen["effective_batch"])
    settings = {
        "trainer": _trainer(way, facts, source),
        "per_device_train_batch_size": Setting(fitted.micro, f"{micro} ({room})", source, most),
        "gradient_accumulation_steps": Setting(fitted.accumulation, product, "effective batch / micro-batch", most),
        "gradient_checkpointing": Setting(fitted.checkpointing, recomputed if fitted.checkpointing else kept, source),
        "use_liger_kernel": Setting(
            "use_liger_kernel" in changes,
            "the card needs it" if "use_liger_kernel" in changes else "not needed to fit",
            source,
        ),
        "sharding": Setting(
            changes.get("sharding", "none"), way.why if "sharding" in changes else "one device holds it", source
        ),
        "optim": Setting(
            changes.get("optim", "adamw_torch"),
            "small states, to fit" if "optim" in changes else "AdamW, the usual",
            source if "optim" in changes else CSV,
        ),
    }
    if "offload" in changes:
        settings["offload"] = Setting(True, "weights and optimizer in host memory: no smaller way fits", source)
    if chosen["method"] == "auto":
        why = (
            "LoRA does not fit in 16 bit"
            if way.method == "qlora"
            else "LoRA forgets less than full fine-tuning and needs a fraction of its memory"
        )
        settings["method"] = Setting(way.method, why, f"{source}; LoRA Learns Less and Forgets Less")
    if (wanted := chosen["max_length"]) != way.max_length:
        why = f"{wanted:,} would cover the data, but no longer fits ({room}); what is longer is cut"
        settings["max_length"] = Setting(way.max_length, why, source, (way.max_length, wanted))
    return settings


def _trainer(way: Way, facts: Facts, source: str) -> Setting:
    if way.trainer == "trimtab":
        return Setting("trimtab", "trimtab's own loop trains it", source)
    why = (
        f"{facts.task}" if facts.task not in TRAINED_HERE else "several devices" if facts.devices > 1
        else "a 4-bit base" if way.method == "qlora" else ""
    )  # fmt: skip
    others = "transformers' Trainer, LLaMA-Factory, TRL or Axolotl"
    return Setting(
        "transformers",
        (
            f"our own loop does not train {why}; {others} do"
            if why
            else f"our own loop would not fit; {others} do ({way.why or 'as they are'})"
        ),
        source,
    )


def learning_rate(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """7. The rate: makers first, else measured models or a rule joined with published practice; then task and risk."""
    query = query_of(facts, chosen)
    rate = rates.decide(query)
    value, reason, low, high = rate.value, rate.reason, *rate.range
    for name, factor, why in _leanings(facts):
        value = min(max(rates.rounded(value * factor), low), high)
        reason += f"; times {factor:g} for {name} ({why})"
    inputs = [("from", rate.source), ("joined", rate.value)]
    inputs += [("rule", f"{rate.rule:.2g}: {rate.rule_text}")] if rate.rule else []
    inputs += [("published", f"{rate.prior:.2g}: weighted median of {len(rate.nearest)} recipes")] if rate.prior else []
    inputs += (
        [("makers", f"{rate.maker.learning_rate:g} at batch {rate.maker.batch or 0:g}: {rate.maker.link}")]
        if rate.maker
        else []
    )
    inputs += [("band 50/80/90 %", "/".join(f"{rate.bands[b]:g}x" for b in ("50", "80", "90")))]
    if rate.disagree:
        reason = f"sources disagree ({rate.rule:.1e} and {rate.prior:.1e}): both go into the scan; {reason}"
        inputs.append(("disagree", (rates.rounded(rate.rule or 0), rates.rounded(rate.prior or 0))))
    return {"learning_rate": Setting(value, reason, rate.source, (low, high), tuple(inputs))}


def epochs_formula(facts: Facts) -> str:
    return table()["epochs"]["cls" if facts.task in ("text-classification", "image-classification") else "llm_sft"]


def epochs_of(facts: Facts) -> float:
    """Epochs that the rule gives for so many examples."""
    return compute(epochs_formula(facts), n=facts.examples)


def _leanings(facts: Facts) -> list[tuple[str, float, str]]:
    """The articles' task classes and the asked risk: leanings inside the band, not measured facts."""
    leanings = []
    if facts.difficulty != "ordinary":
        leanings.append(
            (
                f"a {facts.difficulty} task",
                {"simple": 2.0, "complex": 0.5}[facts.difficulty],
                "the articles' ranges; not measured",
            )
        )
    if facts.risk == "tight":
        leanings.append(
            ("tight risk", 0.5, "drifts less; on 35 models a third of the best rate cost 0.004 nats (median)")
        )
    return leanings
