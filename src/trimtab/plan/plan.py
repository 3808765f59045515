"""Facts and the user's own values -> a plan: a recipe whose every setting says where it comes from.

The user's value always wins, and what the rule would have said stays visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trimtab.plan.facts import Facts
from trimtab.plan.rules import STEPS, Setting
from trimtab.spec.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    recipe: Recipe
    settings: dict[str, Setting]
    warnings: tuple[str, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        return [{"setting": name, **asdict(s)} for name, s in self.settings.items()]

    def comments(self) -> dict[str, str]:
        return {name: s.reason for name, s in self.settings.items()}


def make_plan(facts: Facts, own: Mapping[str, Any] | None = None) -> Plan:
    own = dict(own or {})
    chosen: dict[str, Any] = dict(own)
    settings: dict[str, Setting] = {}
    for step in STEPS:
        for name, setting in step(facts, chosen).items():
            if name in own:
                setting = Setting(
                    own[name], f"yours; the rule says {setting.value} ({setting.reason})", "you", setting.range
                )
            settings[name] = setting
            chosen[name] = setting.value
    for name in own.keys() - settings.keys():
        settings[name] = Setting(own[name], "yours", "you")
    recipe = Recipe(
        model=facts.model, data=facts.data, fingerprint=facts.fingerprint, **{n: s.value for n, s in settings.items()}
    )
    return Plan(recipe, settings, tuple(_warnings(facts, recipe)))


def _warnings(facts: Facts, recipe: Recipe) -> list[str]:
    found = []
    if facts.examples < 50:
        found.append(f"{facts.examples} examples are too few for any advice to be sure")
    if facts.length_max > recipe.max_length:
        found.append(f"examples longer than {recipe.max_length} tokens are cut from the answer's end")
    steps = recipe.steps(facts.examples)
    if steps < 100:
        found.append(f"{steps} optimizer steps are few: below 100 the learning rate's optimum moves up")
    if not facts.has_template:
        found.append("the model has no chat template: examples are plain text, one message a line")
    return found
