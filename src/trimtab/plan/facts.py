"""What the rules may know: model, data and machine, as plain values. Unknown is None."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    model: str
    model_name: str  # what the weights call themselves; equal to `model` when they do not say
    family: str | None
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
    memory_gb: float
    bf16: bool
    has_template: bool = True
    fingerprint: str | None = None  # of model and data together

    @property
    def billions(self) -> float:
        return self.parameters / 1e9
