"""The smallest whole task: linear regression on vectors. A model of one hidden layer; no tokenizer, no embedding, no
head, no template.

`task: tests.toy_task:Toy` in a recipe. MODEL is a folder with config.json ({"inputs", "hidden"}); DATA a JSON file
of {"x": […], "y": …}.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trimtab.analysis.card import judge
from trimtab.analysis.stats import average
from trimtab.datasets.encoded import Encoded
from trimtab.errors import DataError, ModelError, SpecError
from trimtab.planning.facts import Facts
from trimtab.run.base import Base
from trimtab.run.machine import accelerator
from trimtab.spec.budget import Budget
from trimtab.spec.words import Words
from trimtab.tasks.task import Group


@dataclass(frozen=True)
class Item:
    x: tuple[float, ...]
    y: float
    size: int = 1
    weight: int = 1

    @property
    def key(self):
        return self.x, self.y


@dataclass(frozen=True)
class Batch:
    """`x` is [rows, 1, inputs]: a row of one step, since what has no length has one of 1."""

    x: torch.Tensor
    y: torch.Tensor
    length: int = 1

    @property
    def rows(self):
        return len(self.y)

    @property
    def weights(self):
        return (1,) * self.rows


@dataclass(frozen=True)
class Rows:
    examples: dict[str, list[dict]]


class Model(nn.Module):
    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(inputs, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


class Toy:
    words = Words(unit="squared error", size="rows", metrics={"close": "Within 0.1 of the truth"})
    known_below = 0.01
    diverged_above = None
    peft_type = None
    forecast = False

    # what a pass is

    def collate(self, base, items, length=None):
        x = torch.tensor([[i.x] for i in items], device=base.device)
        return Batch(x, torch.tensor([i.y for i in items], device=base.device))

    def outputs(self, base, batch, slices):
        with base.router.route(slices), base.accelerator.autocast():
            return base.model(batch.x)[:, 0, 0].float()

    def unit_losses(self, outputs, batch):
        return (outputs - batch.y) ** 2

    def certainty(self, outputs, batch, losses):
        return [(float(loss < self.known_below), float(torch.exp(-loss)), 0) for loss in losses]

    def score(self, metric, items, evaluation):
        return None

    def tempered(self, items, evaluation, outputs):
        return evaluation

    def groups(self, base, adapter, recipe):
        return [Group(adapter.parameters() if adapter else list(base.model.parameters()))]

    def remember(self, outputs):
        return outputs

    def distance(self, outputs, kept):
        return (outputs - kept) ** 2

    def own_answers(self, base, dataset, recipe, say):
        raise SpecError("the recipe", ["kl_weight and replay_share need a task with prompts of its own"])

    def fresh(self, base, recipe):
        return {}

    def varied(self, item, recipe, draw, others):
        return item

    def scaled(self, base, whole, share):
        return whole

    def save_beside(self, base, folder):
        pass

    def save_model(self, base, folder):
        save_file(base.model.state_dict(), folder / "model.safetensors")
        config = {"inputs": base.model.first.in_features, "hidden": base.model.first.out_features}
        (folder / "config.json").write_text(json.dumps(config))

    # what data and a model are

    def read(self, data, say):
        rows = json.loads(Path(data).read_text())
        if len(rows) < 20:
            raise DataError(f"{data} holds {len(rows)} rows; give at least 20")
        say(f"{len(rows)} rows of {len(rows[0]['x'])} numbers")
        return Rows({"train": rows[:-16], "validation": rows[-16:-8], "test": rows[-8:]})

    def near_copies(self, examples):
        return list(range(len(examples)))

    def content(self, example):
        return json.dumps(example).encode()

    def identity(self, model, say):
        if not (Path(model) / "config.json").exists():
            raise ModelError(f"{model} is no folder with a config.json")
        return hashlib.sha256((Path(model) / "config.json").read_bytes()).hexdigest()

    def processor(self, model, say):
        return None

    def encode(self, dataset, processor, recipe):
        splits = {k: [Item(tuple(r["x"]), r["y"]) for r in rows] for k, rows in dataset.examples.items()}
        return Encoded(splits, {"name": recipe.data, "examples": {k: len(v) for k, v in splits.items()}})

    def table_lines(self, table):
        return [f"Data: {table['name']}, {table['examples']['train']} rows to train on"]

    def load_base(self, model, dataset, processor, full, bf16, device, say):
        config, weights = json.loads((Path(model) / "config.json").read_text()), Path(model) / "model.safetensors"
        made = accelerator(device, "no")
        net = Model(**config).to(made.device)
        if weights.exists():
            net.load_state_dict(load_file(weights))
        return Base(self, net.eval().requires_grad_(False), None, made)

    def facts(self, model, data, dataset, processor, machine, fingerprint, say):
        rows = len(dataset.examples["train"])
        return Facts(
            model=model,
            model_name=model,
            family=None,
            parameters=self.parameters(model, say),
            hidden_size=None,
            positions=None,
            data=data,
            examples=rows,
            tokens=rows,
            label_tokens=rows,
            length_99=1,
            length_max=1,
            device=machine.device,
            memory_gib=machine.memory_gib,
            bf16=False,
            fingerprint=fingerprint,
        )

    def parameters(self, model, say):
        config = json.loads((Path(model) / "config.json").read_text())
        return (config["inputs"] + 2) * config["hidden"] + 1

    def profile(self, dataset):
        return None

    def texts(self, recipe, ids, say):
        rows = self.read(recipe.data, say).examples["train"]
        return {i: [str(rows[i]["x"]), str(rows[i]["y"])] for i in ids}

    def meter(self, store, models, dataset, budget, study, say, own):
        return ToyMeter(store, models, dataset)


class ToyMeter:
    """A share of the test rows that are nearly right; no drift, no card."""

    def __init__(self, store, models, dataset):
        self.store, self.models, self.dataset = store, models, dataset

    def prepare(self, recipe):
        pass

    def pulse(self, member):
        return {}

    def lacks(self):
        return {}

    def measure_base(self, recipe):
        return {
            "metric": "close",
            "numbers": self._close(self.models.base()),
            "answers": [],
            "answer_seconds": 0.0,
            "card_seconds": {"short": 0.0, "card": 0.0},
        }

    def measure_task(self, recipes):
        found = {}
        for r in recipes:
            found[r.run_id] = self._close(*self.models.tuned(r, self.store.folder / "runs" / r.run_id / "best"))
            self.store.update_run(r.run_id, result={"task": found[r.run_id]})
        return found

    def card(self, recipe, level="card", language=None, prompts=0, whole=False, seconds=math.inf):
        return judge({"raw": {}, "level": level}, Budget(name="none"))

    def side(self, recipe):
        return {}

    def scales(self, recipe):
        raise SpecError("trimtab adapter-scale", ["a toy has no scales"])

    def _close(self, base, adapter=None):
        from trimtab.run.adapters import Slice

        task = base.learning
        batch = task.collate(base, [Item(tuple(r["x"]), r["y"]) for r in self.dataset.examples["test"]])
        with torch.no_grad():
            losses = task.unit_losses(task.outputs(base, batch, [Slice(adapter, batch.rows, 1)]), batch)
        assert average(losses.tolist()) >= 0
        return {"close": [float(v < task.known_below) for v in losses]}
