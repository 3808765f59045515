"""A model with a classification head, read as the card needs it. Takes its name and a label task, gives what it
thinks.

Its last states are mean-pooled over the tokens. A base without a head (the encoder that was tuned) gives its states
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from trimtab.behaviour.label_task import STATES, LabelTask, Predictions
from trimtab.behaviour.pair_responses import Raw
from trimtab.errors import DataError
from trimtab.run.oom import in_batches
from trimtab.tasks import pretrained as models

Say = Callable[[str], None]
TOKENS = 512


@dataclass(frozen=True)
class Classifier:
    """`labels` are those of the head, empty where there is none."""

    name: str
    model: PreTrainedModel
    tokenizer: Any
    labels: tuple[str, ...]
    say: Say


def load(name: str, device: str, say: Say) -> Classifier:
    """From a folder or a hub id, in evaluation mode. ModelError where it cannot be loaded."""
    model, labels = models.load_classifier(name, device, say)
    return Classifier(name, model, models.load_tokenizer(name, say), labels, say)


def predict(classifier: Classifier, task: LabelTask) -> Predictions:
    """Probabilities by the task's labels, whatever order the head has. DataError where labels differ."""
    classifier.say(f"Asking {classifier.name} for the labels of {len(task.prompts)} examples")
    texts = [p[-1]["content"] for p in task.prompts]
    if not classifier.labels:
        return Predictions([], [], _read(classifier, texts[:STATES])[1])
    order = _order(classifier, task)
    versions = [[v[-1]["content"] for v in some] for some in task.rephrased]
    rows = iter(_read(classifier, [v for some in versions for v in some])[0])
    plain, states = _read(classifier, texts)
    pick = lambda row: [row[i] for i in order]  # noqa: E731
    return Predictions(
        [pick(r) for r in plain], [[pick(next(rows)) for _ in some] for some in versions], states[:STATES]
    )


def _order(classifier: Classifier, task: LabelTask) -> list[int]:
    """The head's place of each of the task's labels, by name, or by number where the head only counts (LABEL_0)."""
    known = {x.casefold(): i for i, x in enumerate(classifier.labels)}
    known |= {x.casefold().removeprefix("label_"): i for x, i in list(known.items()) if x.startswith("label_")}
    missing = [x for x in task.labels if x.casefold() not in known]
    if missing:
        raise DataError(
            f"{classifier.name} has the labels {', '.join(classifier.labels[:8])}; the data have"
            f" {', '.join(task.labels[:8])}: name the labels alike (id2label in config.json), or number them"
        )
    return [known[x.casefold()] for x in task.labels]


def _read(classifier: Classifier, texts: Sequence[str]) -> tuple[list[list[float]], list[list[float]]]:
    """(probabilities [texts][head's labels], states [texts][width]); the batch size changes neither."""
    probabilities, states = [], []
    for _, (p, s) in in_batches(texts, 32, lambda piece: _batch(classifier, piece), classifier.say):
        probabilities += p
        states += s
    return probabilities, states


@torch.no_grad()
def _batch(classifier: Classifier, texts: Sequence[str]) -> tuple[list[list[float]], list[list[float]]]:
    model = classifier.model
    longest = min(TOKENS, getattr(model.config, "max_position_embeddings", TOKENS))
    read = classifier.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt").to(
        model.device
    )
    caught: list[Any] = []
    hook = model.base_model.register_forward_hook(lambda _m, _in, out: caught.append(out))
    try:
        out = model(**read)
    finally:
        hook.remove()
    mask = read["attention_mask"][..., None].float()
    pooled = (caught[0].last_hidden_state.float() * mask).sum(1) / mask.sum(1)
    head = torch.softmax(out.logits.float(), -1).tolist() if classifier.labels else []
    return head, pooled.tolist()


@torch.no_grad()
def weight_change(base: Classifier, tuned: Classifier) -> Raw:
    """‖ΔW‖/‖W‖ of each matrix of the body that both have in the same shape."""
    mine = dict(base.model.base_model.named_parameters())
    pairs = [
        (mine[n].float(), p.float()) for n, p in tuned.model.base_model.named_parameters() if n in mine and p.ndim == 2
    ]
    return {
        "weight_change": [float((b - a).norm() / a.norm().clamp(min=1e-12)) for a, b in pairs if a.shape == b.shape]
    }
