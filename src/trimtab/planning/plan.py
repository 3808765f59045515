"""Facts and a person's own values -> a plan: every setting with value, reason, source, range; warnings; what to try
next.

The person's value always wins, and what the rule would have said stays visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trimtab.errors import PlanError
from trimtab.planning import interactions, next_runs, rules, rules_after
from trimtab.planning.facts import PAIRED, Facts
from trimtab.planning.fitting import FitAnswer, Forecaster, Way, workload
from trimtab.planning.precedents import Precedent
from trimtab.planning.published_values import precedents_of
from trimtab.planning.rules import Rule
from trimtab.planning.setting import Setting, yours
from trimtab.spec.recipe import OWN_LOOP, Recipe, optimizer_steps
from trimtab.spec.yaml_file import check

STEPS: tuple[Rule, ...] = (
    rules.method,
    rules.adapter,
    rules.length,
    rules.epochs,
    rules.batch,
    rules.memory,
    rules.learning_rate,
    rules_after.schedule,
    rules_after.regularisation,
    rules_after.precision,
    rules_after.watching,
    rules_after.elsewhere,
)

FEWEST = 8  # to train on, after validation and test were set aside
FEW = 50


@dataclass(frozen=True)
class Plan:
    """`recipe` is None where our own loop cannot train it; `forecast` where none could be asked."""

    facts: Facts
    recipe: Recipe | None
    settings: dict[str, Setting]
    warnings: tuple[str, ...]
    couplings: tuple[interactions.Coupling, ...]
    experiments: tuple[next_runs.Experiment, ...]
    precedents: tuple[Precedent, ...]
    forecast: FitAnswer | None

    def value(self, name: str) -> Any:
        """Of a setting."""
        return self.settings[name].value

    def trainable(self) -> Recipe:
        """The recipe for our own loop; PlanError where only another trainer can run the plan."""
        if self.recipe is None:
            raise PlanError(
                f"{self.facts.model} would need {self.settings['trainer'].reason}; see: trimtab plan {self.facts.model}"
                f" {self.facts.data}"
            )
        return self.recipe

    def disagreeing(self) -> tuple[float, ...]:
        """The rates that published practice and rule name, where they are far apart and no one has decided between
        them."""
        rate = self.settings["learning_rate"]
        return dict(rate.inputs).get("disagree", ()) if rate.source != "you" else ()

    def as_rows(self) -> list[dict[str, Any]]:
        """The settings of a recipe, for a study's record."""
        return [{"setting": name, **asdict(s)} for name, s in self.settings.items() if name in Recipe.model_fields]

    def comments(self) -> dict[str, str]:
        return {name: s.reason for name, s in self.settings.items()}


def make_plan(facts: Facts, own: Mapping[str, Any] | None = None, ask: Forecaster | None = None) -> Plan:
    """`ask` forecasts a workload; without it the micro-batch is a cautious guess. Raises PlanError."""
    _check(facts)
    own = {k: v for k, v in (own or {}).items() if (k, v) != ("method", "auto")}
    chosen: dict[str, Any] = {**own, "own": frozenset(own)}
    settings: dict[str, Setting] = {}
    for step in STEPS:
        for name, rule in step(facts, chosen, ask).items():
            setting = yours(name, own[name], rule) if name in own else rule
            settings[name] = setting
            chosen[name] = setting.value
    for name in own.keys() - settings.keys():
        settings[name] = yours(name, own[name], None)
    recipe = _recipe(facts, settings)
    forecast = _forecast(facts, chosen, settings, ask)
    return Plan(
        facts, recipe, settings, tuple(_warnings(facts, settings)), tuple(interactions.fired(facts, settings)),
        tuple(next_runs.proposed(facts, settings, forecast)), precedents_of(facts, chosen), forecast,
    )  # fmt: skip


def _recipe(facts: Facts, settings: Mapping[str, Setting]) -> Recipe | None:
    if settings["trainer"].value != "trimtab":
        return None
    values = {n: s.value for n, s in settings.items() if n in Recipe.model_fields}
    values.setdefault("task", facts.task)
    return check(
        Recipe, {"model": facts.model, "data": facts.data, "fingerprint": facts.fingerprint, **values}, "the plan"
    )


def _forecast(
    facts: Facts, chosen: Mapping[str, Any], settings: Mapping[str, Setting], ask: Forecaster | None
) -> FitAnswer | None:
    """Of exactly what was planned."""
    if ask is None:
        return None
    changes = {"use_liger_kernel": settings["use_liger_kernel"].value} if settings["use_liger_kernel"].value else {}
    if settings["sharding"].value != "none":
        changes |= {"sharding": settings["sharding"].value, "offload": "offload" in settings}
    if settings["optim"].value not in ("adamw_torch", "adam", "sgd"):
        changes["optim"] = settings["optim"].value
    way = Way(settings["method"].value, settings["trainer"].value, settings["max_length"].value, tuple(changes.items()))
    micro, keep = settings["per_device_train_batch_size"].value, not settings["gradient_checkpointing"].value
    return ask(workload(facts, chosen, way, micro, keep))


def _check(facts: Facts) -> None:
    if facts.examples < FEWEST:
        raise PlanError(
            f"{facts.data} leaves {facts.examples} examples to train on, at least {FEWEST} are needed and advice is"
            f" worth something from about {FEW}; with so few, put them into the prompt instead"
        )
    if facts.exact_duplicates is not None and facts.examples * (1 - facts.exact_duplicates) < 2:
        raise PlanError(
            f"all {facts.examples} examples of {facts.data} are copies of one another, so there is nothing to learn but"
            " one answer; give examples that differ"
        )
    if facts.task == "text-classification" and facts.distinct_answers == 1:
        raise PlanError(
            f"{facts.data} has one label only, so a classifier would learn to say it always; add examples of another"
            " label"
        )


def _warnings(facts: Facts, settings: Mapping[str, Setting]) -> list[str]:
    warnings = list(facts.assumed)
    cutoff = settings["max_length"].value
    if facts.task in PAIRED:
        extra = (
            "; the reference model's copy is not in it"
            if settings["method"].value == "full" and facts.task in ("dpo", "kto")
            else ""
        )
        warnings.append(
            f"{facts.task} is forecast as two answers an example through the model, not traced from its trainer{extra}"
        )
    if facts.examples < FEW:
        warnings.append(
            f"{facts.examples} examples to train on are too few for any advice to be sure; examples in the prompt, or"
            f" {FEW} and more to train on, would do more"
        )
    if facts.distinct_answers == 1:
        warnings.append(
            "all answers are the same: the model will learn to say it always; add a few dozen examples with each other"
            " answer, or need no tuning for it"
        )
    rate = settings["learning_rate"]
    if rate.source == "you" and rate.range and not rate.range[0] <= rate.value <= rate.range[1]:
        warnings.append(
            f"your learning_rate {rate.value:g} lies outside {rate.range[0]:g} to {rate.range[1]:g}, where nearly all"
            " published and measured runs lie"
        )
    if facts.length_max > cutoff:
        lost = 1 - facts.mean_length_at(cutoff) / facts.mean_length
        more = f": {lost:.1%} of all tokens" if facts.mean_cut else ": 1 % or more" if facts.length_99 > cutoff else ""
        warnings.append(f"examples longer than {cutoff} tokens are cut from the answer's end{more}")
    if "offload" in settings:
        warnings.append(
            f"weights and optimizer lie in host memory: about {18 * facts.billions:,.0f} GB of it (18 bytes a"
            " parameter), and steps are many times slower"
        )
    steps = optimizer_steps(facts.examples, settings["num_train_epochs"].value, settings["effective_batch"].value)
    if "max_steps" not in settings and steps < 100:
        warnings.append(f"{steps:.0f} optimizer steps are few: below 100 the learning rate's optimum moves up")
    if facts.duplicates and facts.duplicates > 0.05:
        warnings.append(
            f"{facts.duplicates:.0%} of the examples are near-copies of others: the model sees them that much more"
            " often"
        )
    held = [k for k in OWN_LOOP if k in settings and settings[k].value != Recipe.model_fields[k].default]
    if held and settings["trainer"].value != "trimtab":
        names = " and ".join(held)
        warnings.append(f"{names}: only trimtab's own loop has this; {settings['trainer'].value} trains without it")
    if not facts.has_template:
        warnings.append("the model has no chat template: examples are plain text, one message a line")
    return warnings
