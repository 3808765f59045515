"""A workload: everything about a training job that memory and time depend on, named as in transformers and PEFT.

Takes keyword values, gives a frozen object. What fits together is checked here; what fits the model, in the forecast.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trimtab.spec.recipe import Recipe
from trimtab.spec.words import CLASSIFIERS, OLD_NAMES

OPTIMIZERS = (
    "adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "sgd"
)  # fmt: skip


STATES_ROOM = 0.25  # of the memory that is free, which kept states of frozen lower layers may take (trimtab)
# Settings that older forecasts know nothing of.
LATER = ("kl_weight", "layers_to_transform", "momentum", "frozen_layers")


def loop_precision(full: bool, bf16: bool) -> tuple[Literal["bfloat16", "float32"], Literal["no", "bf16"]]:
    """(type of the weights as loaded, autocast) in our own loop, where bfloat16 is (not) computed fast: weights that
    are trained stay float32 and are cast in each pass, frozen ones are loaded in bfloat16."""
    return ("bfloat16" if bf16 and not full else "float32", "bf16" if bf16 and full else "no")


class Workload(BaseModel):
    """One training step of one model on one kind of card, and how often it is repeated."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(min_length=1, description="catalogue name, hub id, local folder, GGUF file or bundled:NAME")
    trainer: Literal["transformers", "trimtab"] = Field(
        "transformers", description="whose loop: transformers' Trainer with PEFT (LLaMA-Factory, TRL, Axolotl), or ours"
    )
    method: Literal["lora", "qlora", "full"] = "lora"
    load_in_4bit: bool = False
    task: Literal["auto", "sft", "text-classification", "image-classification"] = "auto"
    num_labels: int = Field(2, ge=1)

    device: Literal["cuda", "cpu"] = "cuda"
    dtype: Literal["bfloat16", "float16", "float32"] = Field("bfloat16", description="of the weights as loaded")
    autocast: Literal["no", "bf16", "fp16"] = Field("bf16", description="TrainingArguments.bf16 / fp16")
    per_device_train_batch_size: int = Field(1, ge=1)
    per_device_eval_batch_size: int | None = Field(None, ge=1, description="null: as in training")
    gradient_accumulation_steps: int = Field(1, ge=1)
    max_length: int = Field(512, ge=1, description="tokens of the longest example (or pack); pixels a side for images")
    labels: float | None = Field(
        None, ge=1, description="learned tokens a row of the longest batch (trimtab); null: all"
    )
    padded: bool = Field(False, description="rows of different lengths, so that a padding mask is passed")
    packing: bool = False

    r: int = Field(8, ge=1, le=1024)
    target_modules: str | list[str] = "all-linear"
    layers_to_transform: list[int] | None = Field(None, description="layers that get an adapter; null: all")
    frozen_layers: Literal[0, -1] = Field(0, description="-1: full, and a head alone learns (trimtab)")
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    bnb_4bit_use_double_quant: bool = True
    prepare_model_for_kbit_training: bool = Field(False, description="float32 norms, as TRL and PEFT's examples do")

    optim: Literal[OPTIMIZERS] = "adamw_torch_fused"  # type: ignore[valid-type]
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd: a vector more for each weight (trimtab)")
    gradient_checkpointing: bool = True
    use_reentrant: bool = False
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    use_liger_kernel: bool = False
    linear_cross_entropy: bool = Field(False, description="torch's own fused head and loss")
    members: int = Field(1, ge=1, le=64, description="adapters trained together over one base (trimtab)")
    kl_weight: float = Field(0.0, ge=0, description="a pull towards the base: a few rows more once a step (trimtab)")

    devices: int = Field(1, ge=1, le=4096)
    sharding: Literal["none", "ddp", "zero1", "zero2", "zero3", "fsdp"] = "none"
    offload: bool = Field(False, description="optimizer states (and with zero3 parameters) in host memory")

    examples: int | None = Field(None, ge=1)
    num_train_epochs: float = Field(1.0, gt=0)
    max_steps: int = Field(-1, ge=-1, description="-1: by num_train_epochs")
    mean_length: float | None = Field(None, gt=0, description="tokens of a mean example; null: max_length")
    max_new_tokens: int = Field(128, ge=1, description="of a generated answer")

    @field_validator("task", mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        return OLD_NAMES.get(given, given) if isinstance(given, str) else given

    @field_validator("target_modules", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) and "," in value else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = []
        if self.method == "full" and self.load_in_4bit:
            problems.append("4-bit weights cannot be trained in full; use method qlora, or load_in_4bit: false")
        if self.method == "full" and self.dtype == "float16":
            problems.append(
                "float16 weights cannot be trained in full (their gradients cannot be unscaled); use dtype float32 with"
                " autocast fp16"
            )
        if self.method == "full" and self.layers_to_transform:
            problems.append("layers_to_transform: only an adapter has this, and method is full; leave it out")
        if self.frozen_layers and (self.method != "full" or self.trainer != "trimtab"):
            problems.append("frozen_layers -1 needs method full and trainer trimtab; leave it out")
        if self.members > 1 and (not self.trains_adapter or self.trainer != "trimtab"):
            problems.append("members above 1 need method lora and trainer trimtab: others train one adapter at a time")
        if self.trainer == "trimtab" and (self.method == "qlora" or self.load_in_4bit):
            problems.append("trimtab's own loop does not train 4-bit bases; forecast it with trainer transformers")
        if self.trainer == "trimtab" and self.sharding != "none":
            problems.append("trimtab's own loop uses one device; forecast sharding with trainer transformers")
        if self.kl_weight and self.trainer != "trimtab":
            problems.append("kl_weight is a setting of trimtab's own loop; leave it out, or use trainer trimtab")
        if self.sharding != "none" and self.devices == 1 and not self.offload:
            problems.append(f"sharding {self.sharding} over 1 device saves nothing; give devices, or sharding none")
        if self.offload and self.sharding not in ("zero1", "zero2", "zero3", "fsdp"):
            problems.append("offload needs sharding zero1, zero2, zero3 or fsdp")
        if self.use_liger_kernel and self.linear_cross_entropy:
            problems.append("use_liger_kernel and linear_cross_entropy both replace the head and loss; choose one")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def quantised(self) -> bool:
        """Whether the base is in 4 bits."""
        return self.method == "qlora" or self.load_in_4bit

    @property
    def head_alone(self) -> bool:
        return self.frozen_layers == -1

    @property
    def trains_adapter(self) -> bool:
        """Whether what is trained lies beside the model's own weights: an adapter, or a member's own head."""
        return self.method != "full" or self.head_alone

    def first_trained(self, layers: int) -> int:
        """Of so many layers the lowest that is trained: gradients stop there."""
        return layers if self.head_alone else min(self.layers_to_transform or [0])

    @property
    def effective_batch(self) -> int:
        """Examples of one optimizer step, all devices together."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * self.devices

    @property
    def eval_rows(self) -> int:
        return self.per_device_eval_batch_size or self.per_device_train_batch_size

    @property
    def size(self) -> int:
        """Positions in one micro-batch of one device, padding included."""
        return self.per_device_train_batch_size * self.max_length

    def but(self, **changes: Any) -> Workload:
        """With other values, checked anew. ValidationError where they do not fit together."""
        return Workload.model_validate({**self.model_dump(), **changes})

    @property
    def hash(self) -> str:
        """Of every value; what came later counts where it is set."""
        content = self.model_dump(mode="json", exclude={k for k in LATER if not getattr(self, k)})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @staticmethod
    def of_recipe(recipe: Recipe, bf16: bool, members: int = 1, **more: Any) -> Workload:
        """What trimtab's own loop does with a recipe where bfloat16 is (not) fast."""
        dtype, autocast = loop_precision(recipe.whole_model, bf16)
        return Workload.model_validate(
            {
                "model": recipe.model,
                "trainer": "trimtab",
                "method": recipe.method,
                "members": members,
                "dtype": dtype,
                "autocast": autocast,
                "per_device_train_batch_size": recipe.per_device_train_batch_size,
                "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
                "max_length": recipe.max_length,
                "padded": recipe.per_device_train_batch_size * members > 1,
                "r": recipe.r,
                "target_modules": recipe.target_modules,
                "layers_to_transform": recipe.layers_to_transform,
                "frozen_layers": -1 if recipe.head_alone else 0,
                "lora_dropout": recipe.lora_dropout,
                "optim": "sgd" if recipe.optim == "sgd" else "adamw_torch",
                "momentum": recipe.momentum,
                "per_device_eval_batch_size": 16,
                "gradient_checkpointing": recipe.gradient_checkpointing,
                "num_train_epochs": recipe.num_train_epochs,
                "max_steps": min((s for s in (recipe.max_steps, recipe.stop_at_step) if s > 0), default=-1),
                "kl_weight": recipe.pull,
                **({"task": recipe.task} if recipe.task in CLASSIFIERS else {}),
                **more,
            }
        )
