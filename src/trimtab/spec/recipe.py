"""A recipe: every setting of one training run, named letter for letter as in transformers and PEFT.

Takes keyword values, gives a frozen object with a content hash. Knows nothing of files, stores or torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trimtab.spec.words import CLASSIFIERS, TASKS, task_problem

Metric = Literal["loss", "accuracy", "f1", "exact_match", "overlap", "bleu", "chrf", "rouge_l"]
PICTURES_ONLY = ("random_crop", "random_flip", "color_jitter", "mixup", "cutmix")
METRICS = {  # that may decide, by task
    "sft": ("exact_match", "overlap", "bleu", "chrf", "rouge_l"),
    "text-classification": ("accuracy", "f1"),
    "image-classification": ("accuracy", "f1"),
}


class Recipe(BaseModel):
    """One training run. Two recipes that differ only in `seed` share their `hash`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(min_length=1, description="hub id, local folder, GGUF file or bundled:NAME")
    data: str = Field(min_length=1, description="file, folder, hub id or bundled:NAME")
    task: str = Field(
        "sft", description="what is learned from what: a name of spec/words.py, or module:Class of your own"
    )
    method: Literal["lora", "full"] = "lora"

    learning_rate: float = Field(2e-4, gt=0, le=1)
    head_learning_rate: float | None = Field(
        None, gt=0, le=1, description="rate of a classifier's head; null: learning_rate"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="each layer learns at the rate of the layer above it times this, as in ELECTRA"
    )
    gradual_unfreezing: float = Field(
        0.0, ge=0, le=1,
        description="share of the run after which the next lower layer begins to learn, from the uppermost down, as in"
        " ULMFiT; 0: all at once",
    )  # fmt: skip
    class_weight: Literal["balanced"] | None = Field(
        None, description="balanced: each label's losses count n / (labels × examples of it) times, as in scikit-learn"
    )
    frozen_layers: int = Field(
        0,
        ge=-1,
        description="full: so many lower layers, and what comes before them, are not trained; -1: all but a head",
    )
    label_smoothing_factor: float = Field(
        0.0, ge=0, lt=1, description="share of each label's truth that is given to all labels alike (classifiers)"
    )
    classifier_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of what a classifier's head reads that is left out, drawn anew each time"
    )
    temperature_scaling: bool = Field(
        False,
        description="logits are divided by the temperature that fits the validation examples before evaluations are"
        " compared, and what is saved carries it (classifiers)",
    )
    random_crop: float = Field(
        0.0, ge=0, le=0.5, description="a picture is shifted by up to this share of its side, drawn anew each time"
    )
    random_flip: bool = Field(False, description="a picture is mirrored, left to right, half of the time")
    color_jitter: float = Field(
        0.0, ge=0, lt=1, description="brightness, contrast and colours change by up to this share"
    )
    lr_scheduler_type: Literal["cosine", "linear", "constant", "warmup_stable_decay"] = "cosine"
    warmup_steps: float = Field(0.05, ge=0, description="steps, or a share of all steps when below 1")
    num_train_epochs: float = Field(1.0, gt=0, le=1000)
    max_steps: int = Field(-1, ge=-1, description="-1: by num_train_epochs")
    per_device_train_batch_size: int = Field(8, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)

    optim: Literal["adamw_torch", "adam", "sgd"] = "adamw_torch"
    mixup: float = Field(
        0.0,
        ge=0,
        le=8,
        description="a picture is blended with another one, by a share from Beta(mixup, mixup); as timm",
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        le=8,
        description="a part of a picture is another one's, its share from Beta(cutmix, cutmix); as timm",
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd, as torch.optim.SGD has it")
    nesterov: bool = Field(False, description="of sgd with momentum")
    weight_decay: float = Field(0.0, ge=0, le=1)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0, description="0 switches clipping off")

    r: int = Field(16, ge=1, le=1024)
    lora_alpha: float = Field(32.0, gt=0)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    layers_to_transform: list[int] | None = Field(None, description="layers that get an adapter; null: all")
    kl_weight: float = Field(
        0.0, ge=0, le=100, description="pull towards the base: weight of KL(base‖tuned) on prompts of trimtab's own"
    )
    replay_share: float = Field(
        0.0, ge=0, lt=1, description="share of the training rows that is the base's own answers to such prompts"
    )
    stop_at_step: int = Field(
        0, ge=0, description="end at this step of the schedule, as an earlier checkpoint of the run; 0: at its end"
    )
    adapter_scale: float = Field(
        1.0, ge=0, le=1, description="share of the trained adapter that is handed over; costs no training"
    )

    gradient_checkpointing: bool = Field(
        False, description="recompute activations in backward: less memory, a third more time"
    )

    max_length: int = Field(
        512, ge=8, description="tokens; longer examples are cut (from the answer's end). Of pictures: pixels a side"
    )
    eval_steps: float = Field(0.25, gt=0, le=1, description="share of all steps between two evaluations")
    metric_for_best_model: Metric = Field(
        "loss",
        description="of classifiers: what decides which evaluation is kept and when patience ends; of chat models,"
        " whose answers are written at the end alone: what the gain is counted in",
    )
    early_stopping_patience: int = Field(0, ge=0, description="evaluations without a gain; 0 switches it off")
    bf16: bool | None = Field(None, description="null: where this machine computes it fast")
    seed: int = Field(1, ge=0, lt=2**31)
    fingerprint: str | None = Field(
        None, description="of what model and data held when it was trained; null: not known"
    )

    @field_validator("layers_to_transform")
    @classmethod
    def _some_layers(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (not value or min(value) < 0):
            raise ValueError("must be a list of layer numbers from 0 on, or null for all layers")
        return None if value is None else sorted(set(value))

    @model_validator(mode="after")
    def _of_adapters_alone(self) -> Recipe:
        """What only an adapter has is refused where all weights are trained, rather than left out in silence."""
        if self.method == "lora" and self.frozen_layers:
            raise ValueError("frozen_layers: an adapter says which layers it is in by layers_to_transform; use that")
        only = [k for k in ADAPTER_ONLY if getattr(self, k) != type(self).model_fields[k].default]
        if self.method == "full" and only:
            raise ValueError(f"{' and '.join(only)}: only an adapter has this, and method is full; leave it out")
        return self

    @model_validator(mode="after")
    def _has_a_head(self) -> Recipe:
        if self.head_learning_rate is not None and self.task == "sft":
            raise ValueError("head_learning_rate: a chat model has no head of its own to learn; leave it out")
        allowed = ("loss", *METRICS.get(self.task, (self.metric_for_best_model,)))
        if self.metric_for_best_model not in allowed:
            raise ValueError(
                f'metric_for_best_model: got "{self.metric_for_best_model}"; for {self.task} allowed are'
                f" {', '.join(allowed)}"
            )
        heads = [k for k in ("temperature_scaling", "classifier_dropout") if getattr(self, k)]
        if heads and self.task not in CLASSIFIERS:
            raise ValueError(f"{' and '.join(heads)}: only a classifier has such a head; leave it out")
        labels = [k for k in ("label_smoothing_factor", "class_weight") if getattr(self, k)]
        if labels and self.task == "sft":
            raise ValueError(f"{' and '.join(labels)}: only a classifier has labels; leave it out")
        if self.optim != "sgd" and (self.momentum or self.nesterov):
            raise ValueError(f"momentum and nesterov: only sgd has them, and optim is {self.optim}; leave them out")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: needs a momentum above 0, such as 0.9")
        varied = [k for k in PICTURES_ONLY if getattr(self, k)]
        if varied and self.task in ("sft", "text-classification"):
            raise ValueError(f"{', '.join(varied)}: only pictures can be varied so; leave it out")
        known = TASKS.get(self.task)
        if self.anchored and known and known.words and not known.words.anchored:
            raise ValueError("kl_weight and replay_share: they need a model that answers in words; leave them out")
        return self

    @model_validator(mode="after")
    def _ends_in_time(self) -> Recipe:
        if self.max_steps > 0 and (problem := self.stop_problem(self.max_steps)):
            raise ValueError(problem)
        return self

    def stop_problem(self, steps: int) -> str | None:
        """What is wrong where a run of so many steps ends before `stop_at_step`."""
        if self.stop_at_step <= steps:
            return None
        return (
            f"stop_at_step {self.stop_at_step} lies past its end: it has {steps} steps; give at most {steps}, or 0 for"
            " all of them"
        )

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        if problem := task_problem(value):
            raise ValueError(problem)
        return value

    @property
    def whole(self) -> Recipe:
        """The run whose adapter is handed over, or a share of it: the one that is trained."""
        return self if self.adapter_scale == 1 else self.but(adapter_scale=1.0)

    @property
    def head_alone(self) -> bool:
        """Whether nothing but a head learns, so that runs share the frozen rest."""
        return self.method == "full" and self.frozen_layers == -1

    @property
    def whole_model(self) -> bool:
        """Whether it changes the model's own weights, so that no other run can share them."""
        return self.method == "full" and not self.head_alone

    @property
    def layered(self) -> bool:
        """Whether some parameters learn at another rate, or later, than others, or not at all."""
        return bool(self.head_learning_rate or self.layer_decay != 1 or self.frozen_layers or self.gradual_unfreezing)

    @property
    def effective_batch(self) -> int:
        """Examples per optimizer step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def hash(self) -> str:
        """12 hex digits over every setting but the seed."""
        added = {k for k in ADDED_LATER if getattr(self, k) == type(self).model_fields[k].default}
        content = self.model_dump(mode="json", exclude={"seed"} | added)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def run_id(self) -> str:
        """A hash of every setting but the seed, and the seed: the same recipe is the same run."""
        return f"{self.hash[:8]}-s{self.seed}"

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some settings changed, checked again."""
        return Recipe.model_validate({**self.model_dump(), **changes})

    def steps(self, examples: int) -> int:
        """Optimizer steps over `examples` training examples and what is replayed besides."""
        return optimizer_steps(self.rows(examples), self.num_train_epochs, self.effective_batch, self.max_steps)

    def steps_taken(self, examples: int) -> int:
        """Of these those that are taken, where it ends before its schedule does."""
        steps = self.steps(examples)
        return min(steps, self.stop_at_step or steps)

    def rows(self, examples: int) -> int:
        """Training rows of an epoch: so many examples, and the replayed ones that make `replay_share` of all."""
        return round(examples / (1 - self.replay_share))

    @property
    def pull(self) -> float:
        """How strongly it is held to its base, whatever its task measures that by."""
        return self.kl_weight

    @property
    def anchored(self) -> bool:
        """Whether the base's own answers are needed to train it."""
        return self.kl_weight > 0 or self.replay_share > 0

    @property
    def length(self) -> str:
        """For people: "1.25 epochs" or "100 steps"."""
        if self.max_steps > 0:
            return f"{self.max_steps} steps"
        return f"{self.num_train_epochs:g} epoch{'' if self.num_train_epochs == 1 else 's'}"

    def evaluations(self) -> list[float]:
        """The shares of the run at which it is evaluated, ending in 1.0."""
        n = max(1, round(1 / self.eval_steps))
        return [i / n for i in range(1, n + 1)]


def optimizer_steps(examples: int, num_train_epochs: float, effective_batch: int, max_steps: int = -1) -> int:
    """The one count of a run's optimizer steps: the last batch of an epoch may be smaller, `max_steps` above 0 wins,
    at least one."""
    if max_steps > 0:
        return max_steps
    return max(1, round(num_train_epochs * math.ceil(examples / effective_batch)))


# What every member of a cohort must have in common: the frozen base, what it reads, and when it is compared.
SHARED_IN_COHORT = (
    "task",
    "model",
    "data",
    "fingerprint",
    "method",
    "max_length",
    "bf16",
    "eval_steps",
    "gradient_checkpointing",
)

# What only our own loop does, of the settings that hold a run near its base.
OWN_LOOP = (
    "kl_weight", "replay_share", "stop_at_step", "adapter_scale", "head_learning_rate", "frozen_layers",
    "temperature_scaling", "classifier_dropout", "gradual_unfreezing", *PICTURES_ONLY,
)  # fmt: skip
ADAPTER_ONLY = ("layers_to_transform", "adapter_scale")

# Settings that came after the first stores were written: at their default they do not count, so that old runs keep
# their ids.
# The same for studies, which write their recipes out whole.
NOT_IN_OLD_STUDIES = (
    "task", "layers_to_transform", "kl_weight", "replay_share", "adapter_scale", "stop_at_step", "head_learning_rate",
    "layer_decay", "label_smoothing_factor", "random_crop", "random_flip", "color_jitter", "metric_for_best_model",
    "class_weight", "momentum", "nesterov", "mixup", "cutmix",
    "frozen_layers", "temperature_scaling", "classifier_dropout", "gradual_unfreezing",
)  # fmt: skip
ADDED_LATER = ("gradient_checkpointing", *NOT_IN_OLD_STUDIES)


def without_new_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's values as studies of the first stores were named by."""
    fields = Recipe.model_fields
    return {k: v for k, v in values.items() if k not in NOT_IN_OLD_STUDIES or v != fields[k].default}


def can_share_base(a: Recipe, b: Recipe) -> bool:
    """Whether two recipes can be members of one cohort."""
    alike = a.head_alone == b.head_alone and all(getattr(a, k) == getattr(b, k) for k in SHARED_IN_COHORT)
    return alike and not a.whole_model
