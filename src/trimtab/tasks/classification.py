"""What the tasks that learn labels have in common: their base is the frozen probe, where a linear head can begin; their
runs are measured by labels. A half of a `Task`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trimtab.behaviour.frozen_probe import probe_of
from trimtab.behaviour.kept import KEEP
from trimtab.datasets.assets import cache_folder
from trimtab.datasets.label_items import labels_in
from trimtab.errors import SpecError
from trimtab.spec.recipe import Recipe
from trimtab.tasks.classifier_base import ClassifierBase
from trimtab.tasks.label_meter import LabelMeter, Measured
from trimtab.tasks.task import Say

if TYPE_CHECKING:
    from trimtab.spec.budget import Budget
    from trimtab.spec.probe import Probe
    from trimtab.store import Store
    from trimtab.tasks.task import Models


class Classification(Measured):
    """A task adds what `Measured` asks, and loads a base that it hands to `probed`."""

    forecast = True

    def probed(self, base: ClassifierBase, dataset: Any, say: Say) -> ClassifierBase:
        """The base, whose runs begin at the frozen probe where its checkpoint has no head for these labels."""
        if base.probed is None or f"{base.probed}.weight" not in base.drawn:
            return base
        base.say = say
        set_at: list[int] = []

        def start(recipe: Recipe) -> None:
            if set_at != [at := self.measured_at(recipe)]:
                labels = labels_in(dataset)
                train, held_out = (
                    self.measured(dataset.examples[s], base.processor, labels, recipe) for s in ("train", "validation")
                )
                probe = probe_of(base, train, held_out, cache_folder() / KEEP)
                base.start_from({f"{base.probed}.weight": probe.weight, f"{base.probed}.bias": probe.bias})
                set_at[:] = [at]

        base.starts = start
        return base

    def own_answers(self, base: ClassifierBase, dataset: Any, recipe: Recipe, say: Say) -> list[Any]:
        raise SpecError("the recipe", ["kl_weight and replay_share need a model that answers in words; leave them out"])

    def meter(
        self,
        store: Store,
        models: Models,
        dataset: Any,
        budget: Budget,
        study: str | None,
        say: Say,
        own: Sequence[Probe],
    ) -> LabelMeter:
        return LabelMeter(self, store, models, dataset, budget, study, say, own)


def needs_labels() -> SpecError:
    """What to raise where a classifier is loaded without knowing what it will tell apart."""
    return SpecError("this task", ["needs the labels of its data to load a model; name them"])
