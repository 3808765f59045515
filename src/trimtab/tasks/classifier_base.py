"""A model with a classification head, as a base that members share. Takes a model's name and labels, gives the frozen
model, its head apart.

Which head: a model that has one for these labels keeps it; a sentence encoder (its checkpoint is a bare body) gets a
linear one on its mean-pooled states; everything else gets transformers' own for its architecture.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from trimtab.run.adapters import seed_of
from trimtab.run.base import Base
from trimtab.run.whole_modules import modules_of
from trimtab.spec.recipe import Recipe
from trimtab.tasks import pooled_classifier
from trimtab.tasks import pretrained as models
from trimtab.tasks.pooled_classifier import PooledClassifier, is_bare, mean_pooled, standardised
from trimtab.tasks.task import Learning, Say

SPREAD = 0.02  # of a new head's weights: transformers' initializer_range


class ClassifierBase(Base):
    """`head`: its parameters by name, as the checkpoint or the probe has them; those in `drawn` it has not, and each
    member draws its own."""

    def __init__(
        self,
        learning: Learning,
        model: Any,
        processor: Any,
        accelerator: Accelerator,
        labels: Sequence[str],
        drawn: Sequence[str],
    ):
        self.body: nn.Module = model.base_model
        body = {id(p) for p in self.body.parameters()}
        drawn_names = set(drawn)
        head = {n: p for n, p in model.named_parameters() if id(p) not in body or n in drawn_names}
        inside = [model.get_submodule(name) for name in modules_of(list(head), model)]
        outside = [m for module in inside for m in module.modules() if isinstance(m, nn.Linear)]
        super().__init__(learning, model, processor, accelerator, outside)
        self.labels, self.drawn = tuple(labels), drawn_names
        self.starts: Callable[[Recipe], None] = lambda _recipe: None  # sets the head that runs of a recipe begin with
        self.head = {n: p.detach().clone() for n, p in head.items()}
        self._in_model = head  # members' copies are wrapped around these
        last = [n for n, m in model.named_modules() if m in outside and m.out_features == len(labels)][-1:]
        self.ends = tuple(n for n in (f"{end}.{part}" for end in last for part in ("weight", "bias")) if n in self.head)
        if last:
            model.get_submodule(last[0]).register_forward_pre_hook(self._drop)

    def _drop(self, _module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Of a model that is trained whole; members that have adapters draw their own."""
        return (nn.functional.dropout(inputs[0], self.head_dropout, self.model.training), *inputs[1:])

    @property
    def pooled(self) -> bool:
        """Whether it is a sentence encoder with a head of ours."""
        return isinstance(self.model, PooledClassifier)

    @property
    def probed(self) -> str | None:
        """The linear layer that reads the `states` of `seen` and nothing else: where the frozen probe can take its
        place. None where there is none."""
        return "classifier" if self.pooled else None

    def seen(self, forward: Callable[[], torch.Tensor], batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """(outputs, states [rows, width]) of a pass: what the body makes of each row, mean-pooled and standardised."""
        caught = list[Any]()
        hook = self.body.register_forward_hook(lambda _module, _inputs, out: caught.append(out))
        try:
            outputs = forward()
        finally:
            hook.remove()
        return outputs, standardised(mean_pooled(caught[0].last_hidden_state.float(), batch.mask))

    def begin(self, recipe: Recipe) -> None:
        self.starts(recipe)

    def start_from(self, values: Mapping[str, Any]) -> None:
        """Every member's head begins with these values, the base's own too."""
        for name, value in values.items():
            self.head[name] = torch.tensor(value).to(self.head[name])
            self._in_model[name].data.copy_(self.head[name])
            self.drawn.discard(name)

    def head_of(self, recipe: Recipe) -> dict[str, torch.Tensor]:
        """What a member's head begins with."""
        self.begin(recipe)
        return {n: _draw(n, v, recipe.seed) if n in self.drawn else v for n, v in self.head.items()}

    def save(self, folder: Path) -> None:
        """Whole, as transformers loads it."""
        if self.pooled:
            where = {"AutoModelForSequenceClassification": f"pooled_classifier.{PooledClassifier.__name__}"}
            self.model.config.update({"auto_map": where})  # type: ignore[union-attr,operator]
            shutil.copy(str(pooled_classifier.__file__), folder / "pooled_classifier.py")
        self.model.save_pretrained(folder)  # type: ignore[operator]
        self.processor.save_pretrained(folder)

    def save_labels(self, folder: Path) -> None:
        """Beside an adapter, whose own config has no place for them."""
        (folder / "labels.json").write_text(json.dumps(list(self.labels), ensure_ascii=False), encoding="utf-8")


def load_classifier_base(
    learning: Learning,
    model: str,
    labels: Sequence[str],
    processor: Any,
    dtype: str,
    accelerator: Accelerator,
    say: Say,
) -> ClassifierBase:
    """ModelError where transformers has no classifier of this architecture."""
    with models.clear_errors(model, "text classifier"):
        source = models.source(model, say)
        config = AutoConfig.from_pretrained(**source, trust_remote_code=False)
        config.pad_token_id = processor.pad_token_id
        kind = PooledClassifier if is_bare(config) else AutoModelForSequenceClassification
        loaded, drawn = with_head(kind, source, config, labels, dtype, lambda said: say(f"{model} {said}"))
    loaded.to(accelerator.device)
    return ClassifierBase(learning, loaded, processor, accelerator, labels, drawn)


def with_head(
    kind: Any, source: Mapping[str, Any], config: Any, labels: Sequence[str], dtype: str, say: Say
) -> tuple[Any, list[str]]:
    """(the frozen model with a head for these labels, names of the parameters that its checkpoint does not hold)."""
    known = list((config.id2label or {}).values()) == list(labels)
    if any("Classification" in str(n) for n in config.architectures or []) and not known:
        said = ", ".join([*config.id2label.values()][:5])
        say(f"has a head for other labels ({said}{' …' if len(config.id2label) > 5 else ''}): a new one begins")
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    loaded, told = kind.from_pretrained(
        **source, config=config, dtype=getattr(torch, dtype), ignore_mismatched_sizes=True, output_loading_info=True
    )
    drawn = {str(n) for n in told["missing_keys"]} | {str(n[0]) for n in told["mismatched_keys"]}
    if not known:  # a head of as many labels, but of others, fits and means nothing
        body = {id(p) for p in loaded.base_model.parameters()}
        drawn |= {n for n, p in loaded.named_parameters() if id(p) not in body}
    return loaded.requires_grad_(False).eval(), sorted(drawn)


def _draw(name: str, like: torch.Tensor, seed: int) -> torch.Tensor:
    """Matrices normal, biases 0, norms 1: as transformers draws them, but by name and seed."""
    if like.dim() < 2:
        return torch.zeros_like(like) if name.endswith("bias") else torch.ones_like(like)
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed_of(name, seed))) * SPREAD
    return drawn.to(like)
