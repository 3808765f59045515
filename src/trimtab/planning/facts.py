"""What the rules may know: model, data and machine, as plain values. Unknown is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.spec.words import TASKS

DIFFICULTIES = ("simple", "ordinary", "complex")
RISKS = ("tight", "standard", "loose")
OLD_NAMES = {"card": "device_name"}
PAIRED = tuple(name for name, kind in TASKS.items() if kind.paired)


@dataclass(frozen=True)
class Facts:
    """Lengths in tokens, memory in GiB. `task` is a key of spec/words.TASKS; `duplicates` a share of the examples."""

    model: str
    model_name: str  # what the weights call themselves; equal to `model` when they do not say
    family: str | None  # config.json's model_type
    parameters: int
    hidden_size: int | None
    positions: int | None
    data: str
    examples: int  # to train on
    tokens: int
    label_tokens: int
    length_99: int
    length_max: int
    device: str
    memory_gib: float
    bf16: bool
    has_template: bool = True
    fingerprint: str | None = None  # of model and data together
    task: str = "sft"
    difficulty: str = "ordinary"
    risk: str = "standard"
    devices: int = 1
    device_name: str | None = None
    instruct: bool | None = None  # tuned to follow instructions already
    duplicates: float | None = None
    exact_duplicates: float | None = None
    distinct_answers: int | None = None
    length_95: int | None = None
    labels_longest: int | None = None  # most answer tokens among the longest 1 % of examples
    longest: tuple[tuple[int, int], ...] = ()  # (tokens, answer tokens) of the longest examples, the longest first
    mean_cut: tuple[tuple[float, float], ...] = ()  # (cutoff, mean length when cut there), rising
    length_margin: float = 1.0  # how far above estimated lengths a cutoff is set
    assumed: tuple[str, ...] = ()  # what had to be assumed, in sentences

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Facts:
        """As a study keeps them, of this version or an earlier one."""
        return cls(**{OLD_NAMES.get(k, k): v for k, v in stored.items()})

    @property
    def billions(self) -> float:
        """Parameters in billions."""
        return self.parameters / 1e9

    @property
    def size(self) -> int:
        """Of an epoch, in the task's own unit."""
        return self.tokens

    @property
    def mean_length(self) -> float:
        """Of an example, in the unit of `size`."""
        return self.tokens / max(1, self.examples)

    def mean_length_at(self, cutoff: float) -> float:
        """Of an example when it is cut there, at least 1; between the cutoffs that are known, on a line."""
        mean = min(self.mean_length, cutoff)
        before = (0.0, 0.0)
        for place, known in self.mean_cut:
            if cutoff <= place:
                mean = before[1] + (known - before[1]) * (cutoff - before[0]) / max(1.0, place - before[0])
                break
            before = (place, known)
        return max(1.0, mean)
