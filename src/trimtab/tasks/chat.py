"""Chat and completion: conversations -> the assistant's answers, learned by a causal language model.

The training half is language.py, the measuring half chat_meter.py; here is what an example, a model and a table of
data are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.datasets.assets import cache_folder
from trimtab.datasets.encoded import Encoded
from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import Dataset, table_lines, tokenise_dataset
from trimtab.datasets.tokens import Tokens, tokenise
from trimtab.facts.build import facts_of_examples
from trimtab.planning.facts import Facts
from trimtab.run.machine import Machine, accelerator
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import loop_precision
from trimtab.tasks import pretrained as models
from trimtab.tasks.language import LanguageBase, LanguageModelling
from trimtab.tasks.task import Say
from trimtab.tasks.text_data import TextData

if TYPE_CHECKING:
    from trimtab.spec.budget import Budget
    from trimtab.spec.probe import Probe
    from trimtab.store import Store
    from trimtab.tasks.chat_meter import ChatMeter
    from trimtab.tasks.task import Models


NO_CUTOFF = 2**31


class Chat(TextData, LanguageModelling):
    """The task "sft"."""

    forecast = True

    def encode(self, dataset: Dataset, processor: Any, recipe: Recipe) -> Encoded:
        return tokenise_dataset(dataset, processor, recipe.max_length)

    def table_lines(self, table: Mapping[str, Any]) -> list[str]:
        return table_lines(table)

    def load_base(
        self, model: str, dataset: Dataset | None, processor: Any, full: bool, bf16: bool, device: str, say: Say
    ) -> LanguageBase:
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
        from trimtab.behaviour.kept import KEEP
        from trimtab.behaviour.own_answers import own_answers
        from trimtab.tasks.chat_meter import language_of

        return own_answers(base, language_of(dataset, say) or "en", recipe.max_length, cache_folder() / KEEP)

    def parameters(self, model: str, say: Say) -> int:
        return models.architecture(model, say)["parameters"]

    def learned(self, dataset: Dataset, recipe: Recipe, say: Say) -> Sequence[Example]:
        """Without those whose answer the cutoff took away."""
        train = dataset.examples["train"]
        items = tokenise(train, self.processor(recipe.model, say), recipe.max_length)
        return [e for e, item in zip(train, items, strict=True) if item.weight]

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
