"""The tasks by name, and the words that speak of them: units, what is measured, what the task's numbers are called.
Torch-free.

One vocabulary for recipes, plans, forecasts and published recipes. A task of your own is named module:Class and
brings its words along (`Class.words`); those that trimtab has are rows here, so that a table or a page never waits
for torch.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from trimtab.errors import SpecError, did_you_mean

Architecture = Literal["sft", "text-classification", "image-classification"]  # of a model: by its own head


@dataclass(frozen=True)
class Drift:
    """The cheap number that says how far a run has moved from its base: its name among a pulse's numbers, and what
    it is in."""

    key: str
    title: str
    unit: str
    axis: str  # of a picture


@dataclass(frozen=True)
class Words:
    """`unit` of the loss; `size` is what a pass costs, counted in these (tokens, pixels, rows); `drift` None where
    none is measured.

    `metrics`: the task's numbers that a recommendation speaks of, by key; `baseline`: what they are compared with;
    `anchored`: a run can be held to its base on
    prompts that are none of the task's, and `pull_size` is what that passes a step. `least_size`: what the least that
    a study measures passes forward.
    """

    unit: str
    size: str
    drift: Drift | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    baseline: str = "untouched"
    judged: tuple[str, ...] = ()  # the groups of numbers (spec/numbers.csv) that its cards judge; () for all
    pulse_size: int = 0  # what a pulse passes forward, in the same unit as `size`
    anchored: bool = False
    pull_size: int = 0
    least_size: int = 0

    @property
    def drift_unit(self) -> str:
        """Empty where no drift is measured."""
        return self.drift.unit if self.drift else ""

    def shown(self) -> dict[str, Any]:
        """For tables and pages, as a result keeps them: units of loss and drift, what drift is called on an axis
        (empty where there is none), and the metrics' titles."""
        drift = self.drift
        return {
            "unit": self.unit,
            "size": self.size,
            "drift_key": drift.key if drift else "",
            "drift": self.drift_unit,
            "drift_axis": drift.axis if drift else "",
            "metrics": dict(self.metrics),
        }


@dataclass(frozen=True)
class Kind:
    """A task that plans know. `code`: in the table of published recipes; `architecture`: what the forecast traces;
    `trained`: by our own loop; `paired`: two answers an example."""

    code: str
    architecture: Architecture = "sft"
    trained: bool = False
    paired: bool = False
    words: Words | None = None
    home: str = ""  # module:Class of what trains it


LANGUAGE = Words(
    unit="nats/token",
    size="tokens",
    drift=Drift("kl_pulse", "drift", "nats/token", "drift on eight short prompts, nats/token"),
    metrics={
        "exact_match": "Exact match",
        "overlap": "Overlap with the reference (F1)",
        "format_validity": "Valid JSON",
        "bleu": "BLEU",
        "chrf": "chrF",
        "rouge_l": "ROUGE-L",
    },
    pulse_size=2000,  # 12 answers and 42 choices, with their prompts
    anchored=True,
    pull_size=340,  # four prompts with answers
    least_size=25_000,  # answers of base and tuned model to 60 examples, the first round of a short card
)
LABELS = Words(
    unit="nats/example",
    size="tokens",
    drift=Drift("representation_drift", "drift", "1 − cosine", "drift of 64 texts' states, 1 − cosine"),
    metrics={"accuracy": "Accuracy"},
    baseline="frozen probe",
    judged=("labels", "own"),
    pulse_size=1000,
)
PICTURES = Words(
    unit="nats/example",
    size="pixel rows",
    drift=Drift("representation_drift", "drift", "1 − cosine", "drift of 64 pictures' states, 1 − cosine"),
    metrics={"accuracy": "Accuracy"},
    baseline="frozen probe",
    judged=("labels", "own"),
    pulse_size=6000,  # 64 pictures of 96 rows
)
ENCODERS = (  # families that read and do not write
    "bert", "roberta", "xlm-roberta", "deberta", "deberta-v2", "distilbert", "modernbert", "electra", "albert", "mpnet",
)  # fmt: skip
TASKS: dict[str, Kind] = {
    "sft": Kind("sft", trained=True, words=LANGUAGE, home="trimtab.tasks.chat:Chat"),
    "text-classification": Kind(
        "cls", "text-classification", trained=True, words=LABELS,
        home="trimtab.tasks.text_classification:TextClassification",
    ),
    "image-classification": Kind(
        "vision", "image-classification", trained=True, words=PICTURES,
        home="trimtab.tasks.image_classification:ImageClassification",
    ),
    "vlm": Kind("vlm-sft"),
    "pretraining": Kind("pretrain-cont"),
    "dpo": Kind("dpo", paired=True),
    "kto": Kind("kto", paired=True),
    "simpo": Kind("simpo", paired=True),
    "orpo": Kind("orpo", paired=True),
    "reward": Kind("rm", paired=True),
    "embedding": Kind("embed"),
}  # fmt: skip
OLD_NAMES = {  # for one release
    "classification": "text-classification", "vision": "image-classification", "causal-lm": "sft",
    "sequence-classification": "text-classification",
}  # fmt: skip
CLASSIFIERS = tuple(name for name, kind in TASKS.items() if kind.words in (LABELS, PICTURES))
TRAINED_HERE = tuple(name for name, kind in TASKS.items() if kind.trained)
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def task_problem(name: str) -> str | None:
    """Why a recipe cannot have this task, as the end of a sentence; None where it can."""
    if name in TRAINED_HERE or _OWN.fullmatch(name):
        return None
    if name in TASKS:
        return f"got '{name}', which our own loop does not train yet; allowed are {', '.join(TRAINED_HERE)}"
    near = did_you_mean(name, TRAINED_HERE)
    return f"got '{name}'; allowed are {', '.join(TRAINED_HERE)}, or module:Class of your own{near}"


def words_of(task: str) -> Words:
    """Raises SpecError where a task of a person's own cannot be found."""
    kind = TASKS.get(task)
    return kind.words if kind and kind.words else task_class(task).words


def task_class(name: str) -> Any:
    """The class that trains a task: of a row here, or behind module:Class."""
    kind = TASKS.get(name)
    module, _, leaf = (kind.home if kind and kind.home else name).partition(":")
    if not kind and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a person's own file lies where they work; a console script does not look there
    try:
        trains = getattr(import_module(module), leaf)
    except Exception as error:  # a person's file is run: whatever it raises is theirs to read
        why = f"{type(error).__name__}: {error}"
        raise SpecError(
            "task", [f'"{name}" cannot be found ({why}); give module:Class of an importable file']
        ) from None
    if not isinstance(trains, type) or not hasattr(trains, "words"):
        raise SpecError("task", [f'"{name}" is no task; give a class as in tasks/task.py, with `words` and the rest'])
    return trains
