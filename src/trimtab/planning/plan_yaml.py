"""A plan as a page: YAML that `trimtab train` runs, each line with its value and why. Takes a plan, gives text and
rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from trimtab.planning.plan import Plan
from trimtab.planning.setting import Setting
from trimtab.spec.recipe import Recipe

WIDE = 100
ORDER = (
    "method",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "effective_batch",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_length",
    "packing",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "layer_decay",
    "bf16",
    "gradient_checkpointing",
    "use_liger_kernel",
    "sharding",
    "offload",
    "eval_steps",
    "early_stopping_patience",
    "temperature_scaling",
    "trainer",
)


def ordered(settings: Mapping[str, Setting]) -> list[str]:
    return [n for n in ORDER if n in settings] + sorted(set(settings) - set(ORDER))


def row(name: str, s: Setting) -> dict[str, Any]:
    return {
        "setting": name,
        "value": s.value,
        "reason": s.reason,
        "source": s.source,
        "range": list(s.range) if s.range else None,
        "inputs": [list(i) for i in s.inputs],
    }


def text(plan: Plan) -> str:
    """Settings that our own loop has as YAML; those that only other trainers have as comments below, or, where only
    another trainer can run the plan, all of them with `trainer: transformers`, which `trimtab train` answers with
    one sentence."""
    facts = plan.facts
    ours = plan.recipe is not None
    lines = [f"# {w}" for w in _head(plan)]
    lines += [_line("model", facts.model, ""), _line("data", facts.data, "")]
    names = ordered(plan.settings)
    if plan.recipe and plan.recipe.task != Recipe.model_fields["task"].default and "task" not in names:
        lines.append(_line("task", plan.recipe.task, ""))
    elsewhere = [n for n in names if n not in Recipe.model_fields]
    lines += [_line(n, _shown(plan, n), plan.settings[n].reason) for n in names if n in Recipe.model_fields or not ours]
    if ours:
        lines.append("# Not settings of our own loop:")
        lines += ["# " + _line(n, _shown(plan, n), plan.settings[n].reason) for n in elsewhere]
    return "\n".join(lines) + "\n"


def _head(plan: Plan) -> list[str]:
    facts = plan.facts
    where = facts.device_name or "this machine"
    run = (
        "Run it: trimtab train this-file.yaml"
        if plan.recipe
        else "For transformers' Trainer, LLaMA-Factory, TRL or Axolotl; trimtab's own loop does not train it"
    )
    return [
        (
            f"Planned by trimtab for {facts.billions:.2g}B parameters on {where}, {facts.examples:,} examples to train"
            f" on. {run}"
        ),
        *plan.warnings,
    ]


def _shown(plan: Plan, name: str) -> Any:
    value = plan.settings[name].value
    if plan.recipe is not None and name in Recipe.model_fields:
        return plan.recipe.model_dump(mode="json")[name]
    return value


def _line(name: str, value: Any, reason: str) -> str:
    shown = yaml.safe_dump([value], allow_unicode=True, width=1000, default_flow_style=True).strip()[1:-1]
    said = f"{name}: {shown}"
    short = reason if len(reason) <= WIDE else reason[: WIDE - 1].rsplit(" ", 1)[0] + " …"
    return f"{said:<36}  # {short}" if reason else said
