"""Whether one answer has the form or content that was asked for: 1 or 0. Takes a scorer's spec and text; pure, no
model.

Format probes and people's own probes share these. An empty answer scores 0 everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from trimtab.behaviour.scoring import exact, word_count
from trimtab.spec import probe as p

_FENCE = re.compile(r"^\s*```[\w-]*\s*\n?(.*?)\n?\s*```\s*$", re.DOTALL)


def score(scorer: Any, answer: str, reference: str | None = None) -> float:
    """Strictly: the whole answer as it stands. A `judge` is asked elsewhere, it needs a model."""
    return float(bool(answer.strip()) and _KINDS[scorer.type](scorer, answer.strip(), reference or ""))


def unfenced(answer: str) -> str:
    """What stands inside one code fence around the whole answer; the answer itself where there is none."""
    fence = _FENCE.match(answer)
    return fence.group(1) if fence else answer


def _exact(_: p.Exact, answer: str, reference: str) -> bool:
    return bool(exact(answer, reference, False))


def _contains(scorer: p.Contains, answer: str, reference: str) -> bool:
    text = answer.lower()
    wanted = scorer.all or (() if scorer.any else (reference,))
    return all(w.lower() in text for w in wanted) and (not scorer.any or any(w.lower() in text for w in scorer.any))


def _regex(scorer: p.Regex, answer: str, _reference: str) -> bool:
    return re.fullmatch(scorer.pattern, answer, re.DOTALL) is not None


def _json(scorer: p.JsonSchema, answer: str, _reference: str) -> bool:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return _validator(json.dumps(scorer.schema_, sort_keys=True)).is_valid(value)


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _sql(scorer: p.Sql, answer: str, _reference: str) -> bool:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        statements = [s for s in sqlglot.parse(answer, dialect=scorer.dialect) if s is not None]
    except (SqlglotError, RecursionError):
        return False
    # prose parses as an alias or a column: only statements count
    if len(statements) != 1 or not isinstance(
        statements[0], exp.Query | exp.DML | exp.DDL | exp.Create | exp.Alter | exp.Drop
    ):
        return False
    if isinstance(statements[0], exp.Select) and not statements[0].expressions:
        return False
    named = {t.name.lower() for t in statements[0].find_all(exp.Table)}
    return {t.lower() for t in scorer.tables} <= named


def _length(scorer: p.Length, answer: str, _reference: str) -> bool:
    words = word_count(answer)
    return scorer.min_words <= words and (scorer.max_words is None or words <= scorer.max_words)


def _choice(scorer: p.Choice, answer: str, reference: str) -> bool:
    said = answer.strip(" \t\n.。!！\"'“”").lower()
    options = [o.lower() for o in (*scorer.options, *scorer.options_zh)]
    return said in options and (not reference or said == reference.strip().lower())


_KINDS: dict[str, Callable[[Any, str, str], bool]] = {
    "exact": _exact, "contains": _contains, "regex": _regex, "json_schema": _json, "sql": _sql, "length": _length,
    "choice": _choice,
}  # fmt: skip
