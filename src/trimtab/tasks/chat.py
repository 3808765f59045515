"""Chat and completion: conversations -> the assistant's answers, learned by a causal language model. The one task
that trimtab has so far.

The training half is language.py, the measuring half chat_meter.py; here is what an example, a model and a table of
data are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.datasets.assets import cache_folder
from trimtab.datasets.encoded import Encoded
from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import Dataset, load, table_lines, tokenise_dataset
from trimtab.datasets.similarity import profile
from trimtab.datasets.tokens import Tokens, tokenise
from trimtab.errors import TrimtabError
from trimtab.facts.build import facts_of_examples
from trimtab.planning.facts import Facts
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.language import LanguageBase, LanguageModelling
from trimtab.tasks.task import Say

if TYPE_CHECKING:
    from trimtab.spec.budget import Budget
    from trimtab.spec.probe import Probe
    from trimtab.store import Store
    from trimtab.tasks.chat_meter import ChatMeter
    from trimtab.tasks.task import Models

NO_CUTOFF = 2**31


class Chat(LanguageModelling):
    """The task "sft"."""

    forecast = True

    def read(self, data: str, say: Say) -> Dataset:
        return load(data, say=say)

    def near_copies(self, examples: Sequence[Example]) -> list[int]:
        """By near-duplicates, as the split has them."""
        from trimtab.datasets.duplicates import near_duplicates

        groups = enumerate(near_duplicates([e.text for e in examples]))
        of = {i: group for group, members in groups for i in members}
        return [of[i] for i in range(len(examples))]

    def content(self, example: Example) -> bytes:
        return json.dumps(example.messages).encode()

    def identity(self, model: str, say: Say) -> str:
        """A local model by its files, a hub model by its commit."""
        place = Path(models.resolve(model, say))
        return models.files_digest(place) if place.is_dir() else models.commit(model, say)

    def processor(self, model: str, say: Say) -> Any:
        return models.load_tokenizer(model, say)

    def encode(self, dataset: Dataset, processor: Any, recipe: Recipe) -> Encoded:
        return tokenise_dataset(dataset, processor, recipe.max_length)

    def table_lines(self, table: Mapping[str, Any]) -> list[str]:
        return table_lines(table)

    def load_base(self, model: str, processor: Any, full: bool, bf16: bool, device: str, say: Say) -> LanguageBase:
        dtype, autocast = loop_precision(full, bf16)
        made = accelerator(device, autocast)
        return LanguageBase(models.load_model(model, dtype, str(made.device), say), processor, made)

    def facts(
        self, model: str, data: str, dataset: Dataset, processor: Any, machine: Machine, fingerprint: str, say: Say
    ) -> Facts:
        train = dataset.examples["train"]
        counted = [(t.size, t.weight) for t in tokenise(train, processor, NO_CUTOFF)]
        about = models.architecture(model, say)
        named = Path(models.resolve(model, say)).name
        return facts_of_examples(
            model, named, data, about, train, counted, machine, bool(processor.chat_template), fingerprint
        )

    def own_answers(self, base: LanguageBase, dataset: Dataset, recipe: Recipe, say: Say) -> list[Tokens]:
        from trimtab.behaviour.own_answers import own_answers
        from trimtab.tasks.chat_meter import KEEP, language_of

        return own_answers(base, language_of(dataset, say) or "en", recipe.max_length, cache_folder() / KEEP)

    def parameters(self, model: str, say: Say) -> int:
        return models.architecture(model, say)["parameters"]

    def profile(self, dataset: Dataset) -> dict[str, Any] | None:
        return profile(dataset.examples["train"])

    def texts(self, recipe: Recipe, ids: Collection[int], say: Say) -> dict[int, list[str]]:
        try:
            dataset, processor = self.read(recipe.data, say), self.processor(recipe.model, say)
            train = dataset.examples["train"]
            kept = [e for e, t in zip(train, tokenise(train, processor, recipe.max_length), strict=True) if t.weight]
        except TrimtabError:
            return {}
        return {i: [kept[i].messages[-2]["content"], kept[i].answer] for i in sorted(ids) if i < len(kept)}

    def meter(
        self,
        store: Store,
        models: Models,
        dataset: Dataset,
        budget: Budget,
        study: str | None,
        say: Say,
        own: Sequence[Probe],
    ) -> ChatMeter:
        from trimtab.tasks.chat_meter import ChatMeter  # its probes and judges are not needed to train

        return ChatMeter(store, models, dataset, budget, study, say, own)
