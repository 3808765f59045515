"""Published recipes near a model, method and task. Takes what is asked, gives rows with distance and weight. No
torch.

recipes.csv holds values that were read at a repository, path and commit; each row names them and the repository's
licence. Distance and weights: published practice is mostly copied defaults, so a repository counts once, however
many files it has.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from trimtab.spec.words import TASKS

NEAREST = 75
FARTHEST = 6.0
KIND_WEIGHT = {"published_run": 1.0, "measured": 1.0, "paper_recalled": 1.0, "model_card": 0.7, "vendor_example": 0.6,
               "example": 0.5, "default": 0.4}  # fmt: skip
INSTRUCTION = ("sft", "vlm", "pretraining")
_TASKS = {kind.code: name for name, kind in TASKS.items()}  # the table's codes
# What a family's own makers publish under; the recipes of these repositories are the makers' word.
MAKERS = {
    "qwen": ("QwenLM/", "paper:Qwen"),
    "llama": ("meta-llama/", "paper:Llama2"),
    "mistral": ("mistralai/",),
    "deepseek": ("deepseek-ai/", "paper:DeepSeek-LLM"),
    "baichuan": ("baichuan-inc/",),
    "minicpm": ("OpenBMB/",),
    "glm": ("THUDM/",),
    "internlm": ("InternLM/",),
    "internvl": ("OpenGVLab/",),
    "olmo": ("allenai/",),
    "smollm": ("huggingface/alignment-handbook",),
    "nemotron": ("NVIDIA-NeMo/",),
    "deberta": ("microsoft/DeBERTa",),
    "roberta": ("facebookresearch/fairseq", "paper:RoBERTa"),
    "electra": ("google-research/electra",),
    "bert": ("google-research/", "paper:BERT"),
    "convnext": ("facebookresearch/ConvNeXt",),
    "vit": ("google-research/vision_transformer",),
    "swin": ("microsoft/Swin",),
}
# A model's name or architecture -> the families of the table; the first that stands in it.
_FAMILIES = (
    "smollm",
    "qwen",
    "internvl",
    "internlm",
    "deepseek",
    "nemotron",
    "olmo",
    "gpt-oss",
    "minicpm",
    "baichuan",
    "granite",
    "tinyllama",
    "mistral",
    "mixtral",
    "gemma",
    "phi",
    "falcon",
    "glm",
    "yi-",
    "stablelm",
    "starcoder",
    "pythia",
    "neox",
    "kimi",
    "modernbert",
    "deberta",
    "roberta",
    "electra",
    "albert",
    "bert",
    "convnext",
    "resnet",
    "swin",
    "vit",
    "beit",
    "deit",
    "llama",
    "opt",
    "gpt2",
    "t5",
    "mpt",
    "lfm",
)
_SAME = {
    "mixtral": "mistral",
    "tinyllama": "llama",
    "pythia": "neox",
    "yi-": "yi",
    "modernbert": "bert",
    "albert": "bert",
    "beit": "vit",
    "deit": "vit",
}


@dataclass(frozen=True)
class PublishedRecipe:
    """One published recipe. `values` holds the settings that it names, as numbers where they are numbers."""

    id: str
    repo: str
    path: str
    commit: str
    kind: str
    licence: str
    model: str
    billions: float
    family: str
    task: str
    method: str
    group: str
    optimizer: str  # sgd, adam or other
    batch: float | None
    learning_rate: float | None
    layer_decay: bool
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the model that was tuned; of a model card, the one that came of it."""
        return f"{self.path} (from {self.model})" if self.repo.startswith("hf.co/") else self.model

    @property
    def link(self) -> str:
        """Where to check it; None-like empty text for papers."""
        if self.repo.startswith("paper:"):
            return self.repo.removeprefix("paper:")
        if self.repo.startswith("hf.co/"):
            return f"https://huggingface.co/{self.path}"
        return f"https://github.com/{self.repo}/blob/{self.commit or 'HEAD'}/{self.path.split('#')[0]}"


@dataclass(frozen=True)
class Query:
    """What is asked for. `batch` examples a step, `method` lora, qlora or full, `optimizer` adam or sgd; `model` by
    name, where there is one: only then can a recipe be its makers' or a curve its own."""

    billions: float
    family: str | None
    task: str = "sft"
    method: str = "lora"
    batch: float | None = None
    optimizer: str = "adam"
    layer_decay: bool = False
    model: str | None = None

    @property
    def group(self) -> str:
        return self.method if self.method in ("lora", "qlora", "full") else "lora"


@dataclass(frozen=True)
class Precedent:
    row: PublishedRecipe
    distance: float
    weight: float


def _no_row(_row: PublishedRecipe) -> bool:
    return False


@lru_cache(maxsize=64)
def nearest(query: Query, without: Callable[[PublishedRecipe], bool] = _no_row) -> tuple[Precedent, ...]:
    """At most 75 rows, the nearest first, each weighed by distance, kind and how often its repository comes up.

    `without` leaves rows out (held-out checks). Source of the distance: docs/plan.md.
    """
    near = [(d, row) for row in rows() if (d := distance(query, row)) is not None and d < FARTHEST and not without(row)]
    near.sort(key=lambda pair: (pair[0], pair[1].id))
    near = near[:NEAREST]
    count = Counter(row.repo for _, row in near)
    return tuple(Precedent(row, d, math.exp(-d) * KIND_WEIGHT.get(row.kind, 0.4) / count[row.repo]) for d, row in near)


def distance(query: Query, row: PublishedRecipe) -> float | None:
    """None where the two are not comparable: another optimizer, method or task."""
    if row.learning_rate is None or row.optimizer != query.optimizer:
        return None
    method = _method_distance(query, row)
    task = _task_distance(query.task, row.task)
    if method is None or task is None:
        return None
    size = abs(math.log10(query.billions / row.billions)) / 0.4
    batch = 0.125 * abs(math.log2(query.batch / row.batch)) if query.batch and row.batch else 0.0
    return (
        size + 0.5 * (query.family != row.family) + method + task + batch + 2 * (query.layer_decay != row.layer_decay)
    )


def _method_distance(query: Query, row: PublishedRecipe) -> float | None:
    if row.group == query.group:
        return 0.0 if row.method == query.method else 0.5
    return 1.0 if {row.group, query.group} == {"lora", "qlora"} else None


def _task_distance(a: str, b: str) -> float | None:
    if a == b:
        return 0.0
    return 0.7 if a in INSTRUCTION and b in INSTRUCTION else None


def median(near: Sequence[Precedent], name: str = "learning_rate") -> float | None:
    """Weighted; None where nobody gives this setting."""
    return quantile(near, 0.5, name)


def quantile(near: Sequence[Precedent], share: float, name: str = "learning_rate") -> float | None:
    """Of the weighted values of one setting; where the weight splits evenly, their geometric mean."""
    pairs = sorted((v, p.weight) for p in near if isinstance(v := value_of(p.row, name), float))
    total, reached = sum(w for _, w in pairs), 0.0
    for i, (value, weight) in enumerate(pairs):
        reached += weight
        if abs(reached - share * total) < 1e-12 and i + 1 < len(pairs) and value > 0:
            return math.sqrt(value * pairs[i + 1][0])
        if reached > share * total:
            return value
    return pairs[-1][0] if pairs else None


def value_of(row: PublishedRecipe, name: str) -> Any:
    if name == "learning_rate":
        return row.learning_rate
    return row.batch if name == "effective_batch" else row.values.get(name)


def makers_own(query: Query, without: Callable[[PublishedRecipe], bool] = _no_row) -> PublishedRecipe | None:
    """The makers' recipe for this generation of models, method and task, nearest in size (at most a factor of three
    away)."""
    own = generation_of(query.model) if query.model else None
    near = [
        r for r in of_makers(query.family)
        if generation_of(r.model) == own and r.group == query.group and r.task == query.task
        and r.optimizer == query.optimizer and r.learning_rate
        and abs(math.log10(query.billions / r.billions)) <= 0.5 and not without(r)
    ]  # fmt: skip
    near.sort(key=lambda r: (abs(math.log10(query.billions / r.billions)), -KIND_WEIGHT.get(r.kind, 0), r.id))
    return near[0] if near else None


def of_makers(family: str | None) -> Iterable[PublishedRecipe]:
    owners = MAKERS.get(family or "", ())
    return (r for r in rows() if r.family == family and r.repo.startswith(owners)) if owners else ()


def family_of(*names: str | None) -> str | None:
    """The table's family of a model: by its name first (SmolLM2 has a llama's architecture), then by its
    architecture."""
    for name in names:
        for family in _FAMILIES:
            if name and family in name.lower().rsplit("/", 1)[-1]:
                return _SAME.get(family, family)
    return None


def generation_of(name: str) -> str:
    """A model's name up to its size, as in "qwen2.5" of Qwen/Qwen2.5-7B-Instruct: Qwen-7B is of another one."""
    bare = re.sub(r"^meta-|-\d{4}(?=-)", "", name.strip("/").rsplit("/", 1)[-1].lower())
    return _SIZE.split(bare, maxsplit=1)[0]


_SIZE = re.compile(
    r"[-_ ](?:\d+(?:[._]\d+)?[bm]\b|(?:x*small|tiny|mini|base|x*large|huge|giant|[bslh](?=[-_]?\d|_))\b|[bl]_)"
)


@cache
def rows() -> tuple[PublishedRecipe, ...]:
    """Every published recipe, read once."""
    text = files("trimtab.planning").joinpath("recipes.csv").read_text(encoding="utf-8")
    return tuple(_row(r) for r in csv.DictReader(text.splitlines()))


_NUMBERS = {
    "epochs": "num_train_epochs",
    "warmup_ratio": "warmup_ratio",
    "cutoff_len": "max_length",
    "lora_rank": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "adam_beta2": "adam_beta2",
    "packing": "packing",
}


def _row(r: dict[str, str]) -> PublishedRecipe:
    values: dict[str, Any] = {new: _number(r[old]) for old, new in _NUMBERS.items()}
    values |= {"lr_scheduler_type": r["lr_scheduler"], "dataset": r["dataset"]}
    return PublishedRecipe(
        id=r["id"],
        repo=r["source_repo"],
        path=r["path"],
        commit=r["commit"],
        kind=r["kind"],
        licence=r["licence_of_repo"],
        model=r["model"],
        billions=_number(r["params_b"]) or 1.0,
        family=r["family"],
        task=_TASKS.get(r["task"], r["task"]),
        method=r["method"],
        group=r["method_group"],
        optimizer=_optimizer(r["optimizer"]),
        batch=_number(r["effective_batch"]),
        learning_rate=_number(r["learning_rate"]),
        layer_decay=bool(r["layer_decay"]),
        values={k: v for k, v in values.items() if v not in (None, "")},
    )


def _optimizer(name: str) -> str:
    """Adam's kin share a scale of rates; sign-based and others have scales of their own."""
    if "sgd" in name:
        return "sgd"
    return "other" if any(k in name for k in ("lion", "muon", "adafactor")) else "adam"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
