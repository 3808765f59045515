"""A person's own probe: prompts and how their answers are scored. Takes YAML or JSONL files, gives checked probes,
all errors at once.

A YAML file is one probe: `scorer` (for all items, or each its own), `items` with `prompt` (or `messages`) and, where
the scorer needs one, `reference`. A JSONL file is the items alone, each with its scorer. docs/probes.md shows every
scorer.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trimtab.errors import SpecError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Exact(_Part):
    """The reference, whatever the case and spaces."""

    type: Literal["exact"]


class Contains(_Part):
    """Every one of `all` and one of `any`; the reference where neither is given."""

    type: Literal["contains"]
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()


class Regex(_Part):
    """The whole answer matches."""

    type: Literal["regex"]
    pattern: str

    @model_validator(mode="after")
    def _compiles(self) -> Regex:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern is no regular expression: {error}") from None
        return self


class JsonSchema(_Part):
    """The whole answer is JSON of this schema."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")

    @model_validator(mode="after")
    def _valid(self) -> JsonSchema:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(self.schema_)
        except SchemaError as error:
            raise ValueError(f"schema is no JSON schema: {error.message}") from None
        return self


class Sql(_Part):
    """The answer parses as one SQL statement, and names these tables."""

    type: Literal["sql"]
    tables: tuple[str, ...] = ()
    dialect: str | None = None


class Length(_Part):
    """Words in the answer (a Chinese word counts 1.7 characters)."""

    type: Literal["length"]
    min_words: float = 0
    max_words: float | None = None


class Choice(_Part):
    """One of the options and nothing else; the right one is the reference, where there is one."""

    type: Literal["choice"]
    options: tuple[str, ...] = Field(min_length=2)
    options_zh: tuple[str, ...] = ()


class Judge(_Part):
    """A local model answers `question` about the answer with yes or no: its probability of yes."""

    type: Literal["judge"]
    model: str
    question: str


Scorer = Annotated[Exact | Contains | Regex | JsonSchema | Sql | Length | Choice | Judge, Field(discriminator="type")]
NEEDS_REFERENCE = ("exact",)


class Item(_Part):
    prompt: str | None = None
    messages: tuple[dict[str, str], ...] = ()
    reference: str | None = None
    scorer: Scorer | None = None

    @model_validator(mode="after")
    def _asks(self) -> Item:
        if bool(self.prompt) == bool(self.messages):
            raise ValueError("an item needs prompt (text) or messages (a list of role and content), one of them")
        if self.messages and any(set(m) != {"role", "content"} for m in self.messages):
            raise ValueError("each message needs role and content, and nothing else")
        return self

    @property
    def asked(self) -> tuple[dict[str, str], ...]:
        return self.messages or ({"role": "user", "content": self.prompt or ""},)


class Probe(_Part):
    """A person's own questions with a scorer, as a file gives them."""

    name: str = Field(pattern=r"^[A-Za-z0-9_\-]+$")
    language: str = "en"
    max_new_tokens: int = Field(128, ge=1, le=4096)
    scorer: Scorer | None = None
    items: tuple[Item, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _scored(self) -> Probe:
        for place, item in enumerate(self.items):
            scorer = item.scorer or self.scorer
            if scorer is None:
                raise ValueError(f"item {place + 1} has no scorer, and the probe has none for all")
            bare = isinstance(scorer, Contains) and not (scorer.all or scorer.any)
            if (scorer.type in NEEDS_REFERENCE or bare) and item.reference is None:
                raise ValueError(f"item {place + 1}: scorer {scorer.type} needs a reference")
        return self

    def scorer_of(self, item: Item) -> Exact | Contains | Regex | JsonSchema | Sql | Length | Choice | Judge:
        scorer = item.scorer or self.scorer
        assert scorer is not None
        return scorer


def load_probes(folder: str | Path) -> list[Probe]:
    """Every *.yaml, *.yml and *.jsonl of a folder (or one such file), by name; SpecError with the problems of all of
    them."""
    path = Path(folder)
    files = sorted(f for f in path.iterdir() if f.suffix in (".yaml", ".yml", ".jsonl")) if path.is_dir() else [path]
    if not path.exists():
        raise SpecError(f"--probes {folder}", ["there is no such folder or file"])
    if not files:
        raise SpecError(f"--probes {folder}", ["holds no *.yaml or *.jsonl file; see docs/probes.md for their form"])
    probes, problems = [], []
    for file in files:
        try:
            probes.append(_probe(file))
        except SpecError as error:
            problems += [f"{file.name}, {p}" for p in error.problems]
        except ValidationError as error:
            problems += [f"{file.name}: {_plain(e)}" for e in error.errors()]
        except (OSError, ValueError, yaml.YAMLError) as error:
            problems.append(f"{file.name}: cannot be read ({str(error).splitlines()[0]})")
    names = [p.name for p in probes]
    problems += [
        f'two probes are called "{n}"; give one of them another name' for n in sorted(set(names)) if names.count(n) > 1
    ]
    if problems:
        raise SpecError(f"--probes {folder}", problems)
    return probes


def _probe(file: Path) -> Probe:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".jsonl":
        held: Any = {"items": _lines(text)}
    else:
        held = yaml.safe_load(text)
        if not isinstance(held, dict):
            raise ValueError("a probe is a mapping with scorer and items")
    return Probe.model_validate({"name": re.sub(r"[^A-Za-z0-9_\-]", "-", file.stem), **held})


def _lines(text: str) -> list[Any]:
    """Each line's item; every line that is none, and every mistake of the others, in one SpecError."""
    items, problems = [], []
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            items.append(json.loads(line))
            Item.model_validate(items[-1])
        except ValidationError as error:
            problems += [f"line {place}: {_plain(e)}" for e in error.errors()]
        except ValueError as error:
            problems.append(f"line {place}: is not JSON ({error})")
    if problems:
        raise SpecError("", problems)
    return items


def _plain(error: Any) -> str:
    """A pydantic error as one sentence: where, what was given, what is allowed."""
    place = ".".join(str(p + 1) if isinstance(p, int) else str(p) for p in error["loc"])
    if error["type"] == "union_tag_invalid":
        given, allowed = error["ctx"]["tag"], error["ctx"]["expected_tags"].replace("'", "")
        return f'{place}: unknown scorer "{given}"; allowed are {allowed}'
    if error["type"] == "union_tag_not_found":
        return f"{place}: a scorer needs a type, such as {{type: exact}}"
    return f"{place + ': ' if place else ''}{error['msg'].removeprefix('Value error, ')}"
