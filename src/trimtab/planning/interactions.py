"""Risk couplings: what two or more settings may do together on these data. Takes a plan's settings, gives the rows
that apply.

They are hypotheses, not verdicts: each says what may happen, in which numbers it would show, and how sure we are. A
number is one of the behaviour card's or `curve:` something of the run itself; after a study, analysis/couplings.py
looks whether it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trimtab.planning.facts import Facts
from trimtab.spec.recipe import optimizer_steps

MEASURED, REPORTED, HYPOTHESIS = "measured elsewhere", "reported", "hypothesis"


@dataclass(frozen=True)
class Coupling:
    """`shows`: card numbers (with the side that is bad) or `curve:` marks; `sure` one of the three words above."""

    id: str
    when: str
    may: str
    shows: tuple[tuple[str, str], ...]
    sure: str
    source: str


class _View:
    """Settings by name as attributes, with the facts behind them; a setting that is not there is None."""

    def __init__(self, facts: Facts, settings: Mapping[str, Any]):
        self.facts, self._settings = facts, settings

    def __getattr__(self, name: str) -> Any:
        setting = self._settings.get(name)
        return setting.value if setting is not None else None

    @property
    def num_train_epochs(self) -> float:
        """Passes that are really made: `max_steps` may end them earlier."""
        epochs: float = self._settings["num_train_epochs"].value
        most = self.max_steps or -1
        return min(epochs, most * self.effective_batch / self.facts.examples) if most > 0 else epochs

    @property
    def high_rate(self) -> bool:
        rate = self._settings["learning_rate"]
        return rate.range is not None and rate.value > (rate.range[0] * rate.range[1]) ** 0.5 * 1.5

    @property
    def unregularised(self) -> bool:
        return not self.weight_decay and (self.method == "full" or not self.lora_dropout)

    @property
    def steps(self) -> int:
        return optimizer_steps(self.facts.examples, self.num_train_epochs, self.effective_batch, self.max_steps or -1)


Condition = Callable[[_View], bool]
KL, NLL, LENGTH = ("kl_generic", "high"), ("nll_change", "high"), ("length_ratio", "away from 1")
BROKEN, RISE, SPREAD = ("degeneration", "high"), ("curve:validation rises", ""), ("curve:seeds differ", "")
SPIKES, SMALLER, FLAT = ("curve:train loss jumps", ""), ("curve:micro-batch halved", ""), ("curve:barely learns", "")
CUT = ("cut", "high")

TABLE: tuple[tuple[Coupling, Condition], ...] = (
    (
        Coupling(
            "rate-batch",
            "a rate in the upper half of its band × an effective batch of 8 or less",
            "single examples drag the model along: swings, and other seeds end elsewhere",
            (SPREAD, SPIKES, KL),
            HYPOTHESIS,
            "the articles; against it: small batches trained stably with the rate scaled (LoRA Without Regret)",
        ),
        lambda v: v.high_rate and v.effective_batch <= 8,
    ),
    (
        Coupling(
            "epochs-few-data",
            "five epochs or more × fewer than 5,000 examples × no decay and no dropout",
            "the examples are learned by heart: surer answers, validation loss rising",
            (RISE, KL, NLL),
            REPORTED,
            "labelled curves: 8 of 14 over-fit; early stopping does not undo forgetting",
        ),
        lambda v: v.num_train_epochs >= 5 and v.facts.examples < 5000 and v.unregularised,
    ),
    (
        Coupling(
            "duplicates-epochs",
            "more than 5 % near-copies × three epochs or more",
            "what is said often is learned by heart first",
            (RISE, BROKEN),
            REPORTED,
            "deduplication studies; not measured here",
        ),
        lambda v: (v.facts.duplicates or 0) > 0.05 and v.num_train_epochs >= 3,
    ),
    (
        Coupling(
            "cutoff-memory",
            "one example a pass × recomputed activations: the card is nearly full",
            "a longer batch or the evaluation runs out of memory; the micro-batch is then halved",
            (SMALLER,),
            MEASURED,
            "every run's forecast and measurement: trimtab forecast --residuals",
        ),
        lambda v: v.per_device_train_batch_size == 1 and v.gradient_checkpointing and v.facts.device == "cuda",
    ),
    (
        Coupling(
            "lora-timid",
            "LoRA × a rate of full fine-tuning (4e-5 or less) × batch 64 or more",
            "little is learned",
            (FLAT,),
            MEASURED,
            "sweep.csv, 35 models: 0.014 nats (median) above the best rate",
        ),
        lambda v: v.method in ("lora", "qlora") and v.learning_rate <= 4e-5 and v.effective_batch >= 64,
    ),
    (
        Coupling(
            "full-bold",
            "full fine-tuning × a rate of LoRA (1e-4 or more) on a model above 1B",
            "the model forgets, or the loss explodes",
            (SPIKES, NLL, KL),
            MEASURED,
            "litgpt: full at 2e-4 worse than LoRA in 7 of 7 pairs",
        ),
        lambda v: v.method == "full" and v.learning_rate >= 1e-4 and v.facts.billions > 1,
    ),
    (
        Coupling(
            "lora-large-batch",
            "LoRA × an effective batch of 128 or more",
            "learns less from the same examples, and a higher rank does not mend it",
            (FLAT,),
            REPORTED,
            "LoRA Without Regret",
        ),
        lambda v: v.method in ("lora", "qlora") and v.effective_batch >= 128,
    ),
    (
        Coupling(
            "rank-few-data",
            "rank 64 or more × fewer than 5,000 examples",
            "room to learn the examples by heart",
            (RISE, KL),
            HYPOTHESIS,
            "the articles; against it: rank 4 to 128 differ by 0.006 nats on large data (sweep.csv)",
        ),
        lambda v: v.method in ("lora", "qlora") and (v.r or 0) >= 64 and v.facts.examples < 5000,
    ),
    (
        Coupling(
            "short-answers",
            "answers of fewer than 20 tokens × three epochs or more on an instruct model",
            "the model answers everything in a few words",
            (LENGTH, KL),
            HYPOTHESIS,
            "length follows the data; not measured across models",
        ),
        lambda v: (
            v.facts.label_tokens / max(1, v.facts.examples) < 20
            and v.num_train_epochs >= 3
            and v.facts.instruct is True
        ),
    ),
    (
        Coupling(
            "full-instruct",
            "full fine-tuning × a model that was tuned before",
            "what the makers taught it, refusals included, is worn away",
            (NLL, KL, LENGTH),
            REPORTED,
            "LoRA Learns Less and Forgets Less",
        ),
        lambda v: v.method == "full" and v.facts.instruct is True,
    ),
    (
        Coupling(
            "cut-answers",
            "1 % of the examples or more lose the end of their answer",
            "never learns where an answer ends",
            (BROKEN, CUT, LENGTH),
            HYPOTHESIS,
            "the end-of-turn token is cut off with it",
        ),
        lambda v: v.facts.length_99 > v.max_length,
    ),
    (
        Coupling(
            "few-steps",
            "fewer than 100 optimizer steps × warm-up and decay",
            "most steps are taken at a low rate",
            (FLAT,),
            REPORTED,
            "tinker docs",
        ),
        lambda v: v.steps < 100,
    ),
)


def of_recipe(recipe: Mapping[str, Any], facts: Facts, settings: Mapping[str, Any]) -> list[Coupling]:
    """The rows that a recipe meets which came out of the plan with these settings: its values, the plan's ranges."""
    moved = {n: replace(s, value=recipe[n]) if n in recipe else s for n, s in settings.items()}
    size = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    return list(fired(facts, {**moved, "effective_batch": replace(settings["effective_batch"], value=size)}))


def fired(facts: Facts, settings: Mapping[str, Any]) -> Iterator[Coupling]:
    """The rows whose condition the plan meets."""
    view = _View(facts, settings)
    return (coupling for coupling, condition in TABLE if condition(view))
