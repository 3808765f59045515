"""What people published for models like this one, as inputs of a setting. Takes facts and what is chosen, gives
quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.planning.catalogue import find_model
from trimtab.planning.facts import Facts
from trimtab.planning.precedents import Precedent, Query, family_of, nearest, quantile, value_of
from trimtab.planning.rule_table import table


def query_of(facts: Facts, chosen: Mapping[str, Any]) -> Query:
    """What is looked up among the published recipes."""
    how = "lora" if chosen.get("method", "auto") == "auto" else chosen["method"]
    size = chosen.get("effective_batch") or table()["batch"].get(how, 16)
    return Query(
        facts.billions,
        family_of(facts.model_name, facts.model, facts.family),
        facts.task,
        how,
        size,
        "sgd" if chosen.get("optim") == "sgd" else "adam",
        # as typed, where that is a known name: an alias of the catalogue is another model of the same shape
        model=facts.model if find_model(facts.model) else facts.model_name,
    )


def precedents_of(facts: Facts, chosen: Mapping[str, Any]) -> tuple[Precedent, ...]:
    """The nearest published recipes to what is planned."""
    return nearest(query_of(facts, chosen))


def practice(near: Sequence[Precedent], name: str) -> tuple[tuple[str, Any], ...]:
    """What the nearest recipes use, as an input: quartiles of the weighted values."""
    quantiles = [quantile(near, share, name) for share in (0.25, 0.5, 0.75)]
    number = sum(isinstance(value_of(p.row, name), float) for p in near)
    if quantiles[1] is None:
        return ()
    return (("published", f"{'/'.join(f'{v:g}' for v in quantiles if v is not None)} (quartiles of {number} recipes)"),)
