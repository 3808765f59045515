"""The rules of steps 8 to 12: what follows once batch, memory and rate are known.

Takes facts and what is chosen, gives settings. The first seven are in rules.py.
"""

from __future__ import annotations

import math

from trimtab.planning.facts import Facts
from trimtab.planning.fitting import Forecaster
from trimtab.planning.published_values import practice, precedents_of
from trimtab.planning.rule_table import table
from trimtab.planning.rules import Chosen
from trimtab.planning.setting import Setting
from trimtab.spec.recipe import optimizer_steps
from trimtab.spec.words import CLASSIFIERS


def schedule(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """8. Decay and warm-up."""
    warm, near = table()["warmup_ratio"], precedents_of(facts, chosen)
    key = "llm" if facts.task not in CLASSIFIERS else "cls_lt_5k" if facts.examples < 5000 else "cls"
    return {
        "lr_scheduler_type": Setting(
            table()["scheduler"],
            "decays to zero, so that the end of the run is comparable",
            "rules.json scheduler; 71 % of published recipes",
        ),
        "warmup_steps": Setting(
            warm[key],
            "as a share of all steps",
            f"rules.json warmup_ratio.{key}",
            (0.03, 0.1),
            practice(near, "warmup_ratio"),
        ),
    }


def regularisation(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """9. Weight decay, with the check whether it can have an effect at all; clipping."""
    near = precedents_of(facts, chosen)
    key = {"text-classification": "encoder", "image-classification": "vit"}.get(facts.task, "llm")
    value = table()["weight_decay"][key]
    asked = chosen.get("weight_decay", value)
    steps = max(1.0, facts.examples / chosen["effective_batch"])
    scale = math.inf if not asked else 1 / (chosen["learning_rate"] * asked * steps)
    total = chosen["num_train_epochs"]
    effect = ("0: nothing to decay" if not asked else f"its time scale is {scale:,.0f} epochs, the run has {total:g}: "
              + ("it has no effect" if scale > 3 * total else "it acts"))  # fmt: skip
    clip = 0.3 if chosen["method"] == "qlora" else table()["max_grad_norm"]
    return {
        "weight_decay": Setting(
            value,
            effect,
            "rules.json weight_decay; Wang & Aitchison: 1/(rate × decay × steps an epoch)",
            (0, 0.1),
            practice(near, "weight_decay"),
        ),
        "max_grad_norm": Setting(
            clip,
            "the usual for 4-bit" if clip < 1 else "the usual",
            "rules.json; QLoRA 0.3",
            (0.3, 1.0),
            practice(near, "max_grad_norm"),
        ),
    }


def precision(facts: Facts, _chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """10. bfloat16 where this machine computes it in hardware."""
    where = "this machine has" if facts.device == "cpu" else f"{facts.device_name or 'the card'} has"
    reason = (
        f"{where} bfloat16 in hardware"
        if facts.bf16
        else f"{where} no fast bfloat16: "
        + ("float32" if facts.device == "cpu" else "float16 with scaling elsewhere, float32 in our loop")
    )
    return {
        "bf16": Setting(
            facts.bf16, reason, "measured: 1.5 to 2.2 times faster on processors with AVX512-BF16; data sheets of cards"
        )
    }


def watching(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """11. How often to look, and when to stop."""
    length = (chosen["num_train_epochs"], chosen["effective_batch"], chosen.get("max_steps", -1))
    steps = optimizer_steps(facts.examples, *length)
    many = steps * chosen["effective_batch"] >= 3 * facts.examples or facts.risk == "tight"
    share = 0.1 if steps >= 1000 else 0.25
    settings = {
        "eval_steps": Setting(
            share,
            f"a share of all steps: every {max(1, round(share * steps)):,} of {steps:,}",
            "practice: 4 to 10 looks a run",
            (0.05, 0.25),
        ),
        "early_stopping_patience": Setting(
            3 if many else 0,
            "evaluations without a gain; the best checkpoint is kept" if many else "few passes: nothing to stop early",
            "axolotl, don't-stop-pretraining: 3",
            (0, 5),
        ),
    }
    if facts.task in CLASSIFIERS and chosen["trainer"] == "trimtab":
        settings["temperature_scaling"] = Setting(
            True,
            "evaluations are compared as sure as they should be, and what is saved is calibrated: on unseen examples"
            " the loss fell by 13 and 16 % on two of four sets, and stayed within 1 % on the others",
            "Guo et al. 2017, Berta et al. 2025; bench/results/temperature.md",
        )
    return settings


def elsewhere(facts: Facts, chosen: Chosen, _ask: Forecaster | None) -> dict[str, Setting]:
    """12. What other trainers also ask for: packing and layer decay."""
    filled = min(1.0, facts.mean_length_at(chosen["max_length"]) / max(1, chosen["max_length"]))
    pays = filled < 0.5 and facts.examples >= 20_000
    packing = f"a mean example fills {filled:.0%} of the cutoff" + (
        f": packing would make {min(1, filled) ** -1:.1f} times fewer rows; count batch and steps in tokens then"
        if pays
        else ""
    )
    settings = {
        "packing": Setting(
            False,
            packing,
            "practice: on below 50 % with many examples",
        )
    }
    if facts.task in CLASSIFIERS and chosen["method"] == "full":
        settings["layer_decay"] = Setting(
            1.0,
            "layers near the input may learn slower: ELECTRA 0.8, BEiT 0.65 to 0.9, ConvNeXt 0.7 to 0.8; off otherwise",
            "recipes.csv layer_decay",
            (0.65, 1.0),
        )
    return settings
