"""What to run next: the two or three cheapest runs that settle the most uncertain setting, with what they cost. No
torch.

Nearly always that is the learning rate: its band is the widest, and a wrong scale is the dearest mistake. Where a
person has fixed it, the number of epochs is next. The last run is always a repeat with another seed: what it differs
by is noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.planning import rate_sweep
from trimtab.planning.facts import Facts
from trimtab.planning.fitting import FitAnswer
from trimtab.planning.rates import batch_factor, rounded
from trimtab.spec.recipe import optimizer_steps


@dataclass(frozen=True)
class Experiment:
    """`changes` to the plan; `seconds` (middle, low, high) of one run, None where the card's speed is not known."""

    changes: dict[str, Any]
    settles: str
    steps: int
    tokens: int  # images where the task is vision
    seconds: tuple[float, float, float] | None


def proposed(facts: Facts, settings: Mapping[str, Any], forecast: FitAnswer | None) -> Iterator[Experiment]:
    rate = settings["learning_rate"]
    if rate.source != "you":
        for value, why in _rates(facts, settings):
            yield _experiment({"learning_rate": value}, why, facts, settings, forecast)
    elif "max_steps" not in settings and settings["num_train_epochs"].source != "you":
        for factor, why in ((0.5, "whether half as long is enough"), (2.0, "whether twice as long still helps")):
            value = round(settings["num_train_epochs"].value * factor, 1)
            yield _experiment({"num_train_epochs": value}, why, facts, settings, forecast)
    yield _experiment({"seed": 2}, "how much of a difference is noise", facts, settings, forecast)


def _rates(facts: Facts, settings: Mapping[str, Any]) -> list[tuple[float, str]]:
    rate = settings["learning_rate"]
    start = rate.value
    if apart := dict(rate.inputs).get("disagree"):
        return [
            (v, "the sources disagree: which of them is right here") for v in apart if max(v / start, start / v) > 1.5
        ]
    if settings["method"].value != "full" and facts.task == "sft":
        batch = settings["effective_batch"].value
        scale = 1 / batch_factor(batch, rate_sweep.BATCH)  # to the batch of the measurements, and back
        curves = rate_sweep.sweep()
        other = rate_sweep.second_rate(start * scale, facts.billions, curves) / scale
        left = sum(rate_sweep.expected(r * scale, facts.billions, curves) for r in (start,))
        return [
            (
                rounded(other),
                (
                    f"whether the rate is off by a step of three; on models of like size the start lost {left:.4f} nats"
                    " to the best rate"
                ),
            )
        ]
    return [
        (rounded(start / 2), "whether half the rate is better"),
        (rounded(start * 2), "whether twice the rate is better"),
    ]


def _experiment(
    changes: dict[str, Any], why: str, facts: Facts, settings: Mapping[str, Any], forecast: FitAnswer | None
) -> Experiment:
    length = changes.get("num_train_epochs", settings["num_train_epochs"].value)
    asked = settings["max_steps"].value if "max_steps" in settings else -1
    size = settings["effective_batch"].value
    steps = optimizer_steps(facts.examples, length, size, asked)
    step = forecast.seconds if forecast else None
    seconds = (steps * step[0], steps * step[1], steps * step[2]) if step else None
    return Experiment(
        changes,
        why,
        steps,
        round(
            steps
            * size
            * (1 if facts.task == "image-classification" else facts.mean_length_at(settings["max_length"].value))
        ),
        seconds,
    )
