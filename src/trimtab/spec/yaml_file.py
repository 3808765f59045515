"""YAML <-> spec. Takes text or a path and dotted overrides, gives a Recipe or Budget, or one SpecError with every
problem.

Must not touch models or data; only checks what is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trimtab.errors import SpecError, did_you_mean
from trimtab.spec.budget import Budget, Limit, preset
from trimtab.spec.numbers import LIMITABLE, PRESETS, can_be_limited
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import TRAINED_HERE

Spec = TypeVar("Spec", bound=BaseModel)


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """With overrides typed as setting=value. SpecError with every problem at once."""
    values, problems = split_overrides(overrides)
    given = read_mapping(Path(path))
    if given.get("trainer", "trimtab") != "trimtab":
        raise SpecError(
            str(path),
            [
                f"is a plan for {given['trainer']}; trimtab's own loop does not train it: copy its settings into that"
                " trainer"
            ],
        )
    return check(Recipe, {**given, **values}, str(path), problems)


def load_budget(source: str | Path | None) -> Budget:
    """A preset's name (tight, standard, loose), a YAML file, or None for the standard preset."""
    if source is None or str(source) in PRESETS:
        return preset(str(source or "standard"))  # type: ignore[arg-type]
    path = Path(source)
    if not path.exists():
        raise SpecError(str(source), ["is neither a preset (tight, standard, loose) nor a file"])
    raw = read_mapping(path)
    known = ("name", "preset", "limits", *LIMITABLE)
    problems = [f'unknown key "{k}"{_or_all(k, known)}' for k in raw if k not in known and not can_be_limited(k)]
    start = raw.get("preset", "standard")
    if start not in PRESETS:
        problems.append(f"preset: got {start!r}; allowed are tight, standard, loose")
        start = "standard"
    given = raw.get("limits", {})
    if not isinstance(given, dict):
        problems.append("limits must be a mapping from number to {max: …} or {min: …}")
        given = {}
    given = {**{k: v for k, v in raw.items() if can_be_limited(k)}, **{str(k): v for k, v in given.items()}}
    limits, wrong = _over_preset(given, preset(start))
    problems += wrong
    name = str(raw.get("name") or path.stem)
    return check(Budget, {"name": name, "limits": {} if problems else limits}, str(path), problems)


def _over_preset(given: dict[str, Any], start: Budget) -> tuple[dict[str, Any], list[str]]:
    """The preset's limits with those given over them. What is not said of a limit stays; `min: null` takes a side
    away."""
    limits = {k: v.model_dump() for k, v in start.limits.items()}
    problems = []
    for key, value in given.items():
        if not can_be_limited(key):
            problems.append(f'limits: unknown number "{key}"{_or_all(key, LIMITABLE)}')
            continue
        limits[key] = {**limits.get(key, {}), "optional": False, **value} if isinstance(value, dict) else value
        wrong = [f"limits.{key}: {p}" for p in _problems(Limit, limits[key])]
        problems += wrong or _problems(Budget, {"limits": {key: limits[key]}})
    return limits, problems


def _or_all(given: str, known: Sequence[str]) -> str:
    """The nearest name; all of them only where none is near."""
    return did_you_mean(given, known) or f" (known: {', '.join(known)})"


def dump(spec: BaseModel, comments: dict[str, str] | None = None) -> str:
    """YAML with an optional comment behind each key; reading it back gives the same spec."""
    lines = []
    for key, value in spec.model_dump(mode="json").items():
        text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=1000).rstrip()
        note = (comments or {}).get(key)
        lines.append(f"{text}  # {note}" if note and "\n" not in text else text)
    return "\n".join(lines) + "\n"


def split_overrides(overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """`learning_rate=1e-4` pairs as typed on a command line, read as YAML values; and what is wrong with their form."""
    result: dict[str, Any] = {}
    problems: list[str] = []
    for item in overrides:
        key, sep, value = item.partition("=")
        if not sep or not key:
            problems.append(f'"{item}" is not of the form setting=value')
        elif key.strip() in result:
            problems.append(f"{key.strip()} is given twice, {result[key.strip()]!r} and {value}; give it once")
        else:
            result[key.strip()] = read_value(value)
    return result, problems


def own_settings(
    model: str,
    data: str,
    own: Mapping[str, Any] | Sequence[str],
    besides: Mapping[str, Sequence[Any]] | None = None,
    task: str | None = None,
) -> dict[str, Any]:
    """What a person fixed, as a mapping or as typed, checked as the settings of a recipe: all problems in one
    SpecError.

    `besides`: values that are allowed although our own loop does not train them, by setting; `task`: which task they
    are settings of, where they name none.
    """
    values, problems = (dict(own), []) if isinstance(own, Mapping) else split_overrides(own)
    named = [k for k in values if k in ("model", "data", "fingerprint")]
    problems += [f"{k} is no setting here: MODEL and DATA are the first two arguments" for k in named]
    if "effective_batch" in values:
        problems.append(
            "effective_batch is per_device_train_batch_size × gradient_accumulation_steps × devices: set one of the two"
        )
    kept = {k: v for k, v in values.items() if k not in (*named, "effective_batch")}
    ours = {k: v for k, v in kept.items() if v not in (besides or {}).get(k, ())}
    known = {"model": model, "data": data, **({"task": task} if task in TRAINED_HERE else {})}
    checked = check(Recipe, {**known, **ours}, "your settings", problems)
    return {k: getattr(checked, k) if k in ours else v for k, v in kept.items()}


def check(kind: type[Spec], raw: Any, where: str, problems: Iterable[str] = ()) -> Spec:
    """`problems` that are known already are raised together with those wrong here."""
    wrong = [*problems, *_problems(kind, raw)]
    if wrong:
        raise SpecError(where, wrong)
    return kind.model_validate(raw)


def _problems(kind: type[BaseModel], raw: Any) -> list[str]:
    """Every problem as a sentence: what was given, what is allowed."""
    if not isinstance(raw, dict):
        return [f"must be a mapping of setting: value, got {type(raw).__name__}"]
    try:
        kind.model_validate(raw)
    except ValidationError as error:
        return [_sentence(kind, e) for e in error.errors()]
    return []


def _sentence(kind: type[BaseModel], error: Any) -> str:
    path = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = list(kind.model_fields)
        return f'unknown setting "{path}"{did_you_mean(path, known)}' + (
            "" if len(known) > 8 else f" (known: {', '.join(known)})"
        )
    if error["type"] == "missing":
        return f'"{path}" is missing'
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{path}: got {error['input']!r}, {message}" if path and "must" in message else f"{path} {message}".strip()


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. SpecError where it is none."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Once)
    except FileNotFoundError:
        raise SpecError(str(path), ["the file does not exist"]) from None
    except IsADirectoryError:
        raise SpecError(str(path), ["is a folder, a YAML file is needed"]) from None
    except UnicodeDecodeError:
        raise SpecError(str(path), ["is not UTF-8 text; save it as UTF-8"]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise SpecError(str(path), [f"is not valid YAML{line}: {getattr(error, 'problem', error)}"]) from None
    if raw is None:
        raise SpecError(str(path), ["is empty; it must hold at least one setting: value"])
    if not isinstance(raw, dict):
        raise SpecError(str(path), [f"must be a mapping of setting: value, got {type(raw).__name__}"])
    return {str(k): _number_or_text(v) if isinstance(v, str) else v for k, v in raw.items()}


class _Once(yaml.SafeLoader):
    """A key given twice is an error: plain YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _number_or_text(text: str) -> Any:
    """YAML 1.1 reads 1e-4 as text; everybody who types it means the number."""
    try:
        return float(text) if "e" in text.lower() else text
    except ValueError:
        return text


def read_value(text: str) -> Any:
    """A value as typed on a command line: a number, true, false, a list or text."""
    number = _number_or_text(text)
    try:
        return yaml.safe_load(text) if isinstance(number, str) else number
    except yaml.YAMLError:
        return text
