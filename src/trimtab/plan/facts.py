"""What the rules may know: model, data and machine, as plain values. Unknown is None."""

from __future__ import annotations

from dataclasses import dataclass

# What a task is called here -> in the table of published recipes.
TASKS = {
    "sft": "sft", "classification": "cls", "vision": "vision", "vlm": "vlm-sft", "pretraining": "pretrain-cont", "dpo": "dpo", "kto": "kto",
    "simpo": "simpo", "orpo": "orpo", "reward": "rm", "embedding": "embed",
}  # fmt: skip
DIFFICULTIES = ("simple", "ordinary", "complex")
RISKS = ("tight", "standard", "loose")
PAIRED = ("dpo", "kto", "simpo", "orpo", "reward")  # two answers an example
TRAINED_HERE = ("sft",)  # what trimtab's own loop can train


@dataclass(frozen=True)
class Facts:
    """Lengths in tokens, memory in GB. `task` is a key of TASKS; `duplicates` a share of the examples."""

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
    memory_gb: float
    bf16: bool
    has_template: bool = True
    fingerprint: str | None = None  # of model and data together
    task: str = "sft"
    difficulty: str = "ordinary"
    risk: str = "standard"
    devices: int = 1
    card: str | None = None
    instruct: bool | None = None  # tuned to follow instructions already
    duplicates: float | None = None
    exact_duplicates: float | None = None
    distinct_answers: int | None = None
    length_95: int | None = None
    labels_longest: int | None = None  # most answer tokens among the longest 1 % of examples
    assumed: tuple[str, ...] = ()  # what had to be assumed, in sentences

    @property
    def billions(self) -> float:
        return self.parameters / 1e9

    @property
    def mean_length(self) -> float:
        return self.tokens / max(1, self.examples)
