"""MODEL, DATA and a card as typed -> the facts that a plan starts from. Loads a tokenizer only when the data are new
to it.

What cannot be had (a tokenizer without the hub, a card that is not there) is assumed, and said in `Facts.assumed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab.datasets.estimate import MARGIN, Estimate
from trimtab.datasets.formats import Example
from trimtab.datasets.picture_sources import are_pictures
from trimtab.datasets.prepare import percentile
from trimtab.datasets.split import set_aside
from trimtab.errors import ModelError, PlanError, SpecError, TrimtabError, did_you_mean
from trimtab.forecasting import cache, inputs
from trimtab.forecasting.forecaster import forecaster
from trimtab.forecasting.source import ModelSource, locate
from trimtab.planning.catalogue import Device
from trimtab.planning.facts import DIFFICULTIES, RISKS, Facts
from trimtab.planning.plan import FEWEST
from trimtab.planning.precision import computes_bf16
from trimtab.spec.progress import Say
from trimtab.spec.words import OLD_NAMES, TASKS
from trimtab.spec.workload import Workload

if TYPE_CHECKING:
    from trimtab.datasets.pictures import Pictures
    from trimtab.run.machine import Machine

Advance = Callable[[str, int, int], None]  # stage, done, of so many
INSTRUCT = re.compile(r"instruct|chat|[-_]it\b|[-_]sft|[-_]dpo|zephyr|vicuna|alpaca|assistant", re.IGNORECASE)
SKETCH = re.compile(r"sketch:(\d+)(?:x(\d+))?")
SKETCHED_LENGTH = 1024
FORMAT = 8  # of the cached survey
GIB = 2**30


@dataclass(frozen=True)
class Situation:
    """`survey` is the data report as plain data; None for a sketch."""

    facts: Facts
    survey: dict[str, Any] | None
    device: Device | None
    source: ModelSource


def build_facts(
    model: str, data: str, gpu: str | None = None, task: str | None = None, risk: str = "standard",
    say: Say = print, progress: Advance | None = None,
) -> Situation:  # fmt: skip
    """What is known of MODEL, DATA and a device. Raises ModelError, DataError, PlanError or SpecError."""
    kind, difficulty = task_of(task)
    for old in (task or "").replace(" ", "").split(","):
        if old in OLD_NAMES:
            say(f"{old} is called {OLD_NAMES[old]} now; the old name goes with the next release")
    if risk not in RISKS:
        raise SpecError("--risk", [f'got "{risk}"; allowed are {", ".join(RISKS)}{did_you_mean(risk, RISKS)}'])
    device, devices = inputs.device_named(gpu)
    source = locate(model, say)
    on_cpu = inputs.device_of(device) == "cpu"
    assumed = []
    if gpu is None:
        assumed.append(_which_machine(device, on_cpu))
    labels = (kind or source.task) == "text-classification"
    about, survey = _about_data(data, model, source, say, progress, labels)
    assumed += about.pop("assumed")
    if kind is None and survey and "chosen" in survey.get("form", ""):
        kind = "dpo"
        assumed.append(
            "the data are pairs (chosen, rejected), so the task is taken as dpo; --task sft learns the chosen answers"
            " alone"
        )
    named = source.known.name if source.known else str(source.config.get("_name_or_path") or model)
    architecture = {
        "family": source.family, "parameters": _parameters(source, device, say), "positions": source.positions,
        "hidden_size": _first(source.config, "hidden_size", "n_embd", "d_model"),
    }  # fmt: skip
    facts = Facts(
        **_of_model(model, named, architecture),
        data=data,
        device="cpu" if on_cpu else "cuda",
        bf16=computes_bf16(device, on_cpu),
        memory_gib=device.memory / GIB if device else 0.0,
        task=kind or source.task,
        difficulty=difficulty,
        risk=risk,
        devices=devices,
        device_name=_device_name(device, devices),
        assumed=tuple(assumed),
        **about,
    )
    return Situation(facts, survey, device, source)


def facts_of_examples(
    model: str,
    named: str,
    data: str,
    architecture: Mapping[str, Any],
    train: Sequence[Example],
    counted: Sequence[tuple[int, int]],
    machine: Machine,
    has_template: bool,
    fingerprint: str | None,
) -> Facts:
    """Of examples that were read and tokenised, on this machine: `counted` (tokens in all, tokens that are learned)
    of each, no cutoff."""
    from trimtab.datasets.duplicates import near_duplicates, same  # numpy: a sketch needs none
    from trimtab.datasets.survey import LONGEST, mean_cut

    wholes = sorted(n for n, _ in counted)
    texts = [e.text for e in train]
    longest = sorted(counted, key=lambda c: c[0])[-max(1, len(counted) // 100) :]
    return Facts(
        **_of_model(model, named, architecture),
        data=data,
        fingerprint=fingerprint,
        examples=len(counted),
        tokens=sum(wholes),
        label_tokens=sum(learned for _, learned in counted),
        length_95=percentile(wholes, 95),
        length_99=percentile(wholes, 99),
        length_max=wholes[-1],
        labels_longest=max(learned for _, learned in longest),
        longest=tuple(sorted(counted, reverse=True)[:LONGEST]),
        mean_cut=tuple((c, n) for c, n in mean_cut(wholes)),
        has_template=has_template,
        duplicates=1 - len(near_duplicates(texts)) / len(texts),
        exact_duplicates=1 - len(same(texts)) / len(texts),
        distinct_answers=len({e.answer.strip() for e in train}),
        device=machine.device,
        memory_gib=machine.memory_gib,
        bf16=machine.bf16,
    )


def facts_of_pictures(
    model: str,
    data: str,
    architecture: Mapping[str, Any],
    dataset: Pictures,
    side: int,
    machine: Machine,
    fingerprint: str | None,
) -> Facts:
    """Of pictures that were looked at, on this machine; `side`: pixels a side that the network was trained with."""
    from trimtab.datasets.pictures import near_copies

    train = dataset.examples["train"]
    smaller = sorted(max(p.width, p.height) for p in train)
    return Facts(
        **_of_model(model, model, architecture),
        data=data,
        fingerprint=fingerprint,
        task="image-classification",
        examples=len(train),
        tokens=side * len(train),
        label_tokens=len(train),
        length_95=percentile(smaller, 95),
        length_99=side,
        length_max=side,
        duplicates=1 - len(set(near_copies(train))) / len(train),
        exact_duplicates=1 - len({p.digest for p in train}) / len(train),
        distinct_answers=len({p.answer for p in train}),
        device=machine.device,
        memory_gib=machine.memory_gib,
        bf16=machine.bf16,
    )


def _of_model(model: str, named: str, architecture: Mapping[str, Any]) -> dict[str, Any]:
    """`named`: what the weights call themselves."""
    known = {k: architecture[k] for k in ("family", "parameters", "hidden_size", "positions")}
    instruct = bool(INSTRUCT.search(named if model.startswith("bundled:") else model))
    return {"model": model, "model_name": named, "instruct": instruct, **known}


def task_of(text: str | None) -> tuple[str | None, str]:
    """ "complex", "text-classification" or "sft,simple" -> (a key of TASKS or None, difficulty)."""
    kind, difficulty = None, None
    for said in (text or "").replace(" ", "").split(","):
        word = OLD_NAMES.get(said, said)  # for one release
        if (word in DIFFICULTIES and difficulty) or (word in TASKS and kind):
            raise SpecError(
                "--task", [f'got "{text}"; one kind of task and one difficulty at most, as in "sft,simple"']
            )
        if word in DIFFICULTIES:
            difficulty = word
        elif word in TASKS:
            kind = word
        elif word and word != "auto":
            allowed = [*TASKS, *DIFFICULTIES]
            raise SpecError("--task", [f'got "{word}"; allowed are {", ".join(allowed)}{did_you_mean(word, allowed)}'])
    return kind, difficulty or "ordinary"


def report(
    data: str,
    model: str | None,
    say: Say,
    progress: Advance | None = None,
    vocabulary: int | None = None,
    pictures: bool = False,
) -> dict[str, Any]:
    """The data report as plain data, kept until a file changes; estimated lengths where there is no tokenizer to be
    had. `pictures`: what the model takes, whatever the data look like."""
    if pictures or are_pictures(data):
        from trimtab.datasets.picture_survey import survey as look
        from trimtab.datasets.pictures import load

        return look(load(data, say))
    name = f"survey-{FORMAT}-{vocabulary}-" + cache.of_files(data, model or "")
    if measured := cache.load(name):
        return measured
    from trimtab.datasets.survey import survey

    tokenizer, why = _tokenizer(model, say) if model else (None, None)
    seen = survey(data, tokenizer, say, progress, Estimate(model or "", vocabulary))
    measured = {
        **seen.as_dict(),
        "duplicate_share": seen.duplicate_share,
        "why_estimated": why,
        "has_template": tokenizer is None or bool(tokenizer.chat_template),
    }
    if not data.startswith("bundled:") or tokenizer is not None:
        cache.save(name, measured)
    return measured


def _tokenizer(model: str, say: Say) -> tuple[Any, str | None]:
    try:
        from trimtab.tasks.pretrained import load_tokenizer

        tokenizer = load_tokenizer(model, say)
    except TrimtabError as error:
        return None, str(error).split("; check")[0]
    return (tokenizer, None) if tokenizer.is_fast else (None, f"{model} has only a slow tokenizer")


def _about_data(
    data: str, model: str, source: ModelSource, say: Say, progress: Advance | None, labels: bool = False
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """`labels`: a classifier reads the texts alone, and learns one label of each."""
    images = source.task == "image-classification"
    if data.startswith("sketch:"):
        return _sketch(data, _first(source.config, "image_size") or 224 if images else None), None
    survey = report(data, model, say, progress, _first(source.config, "vocab_size"), images)
    if survey.get("pictures") and not images:
        raise ModelError(f"{model} reads texts, and {data} holds pictures; name a model that sees, or other data")
    if images:
        return _of_pictures(survey, _first(source.config, "image_size") or 224), survey
    every, aside = survey["examples"]["train"], set_aside(survey["examples"])
    share = max(0, every - aside) / every
    assumed = []
    if every - aside < FEWEST:
        raise PlanError(
            f"{data} holds {every} examples and {aside} of them are set aside to validate and test; give at least"
            f" {FEWEST + 16}, better 100 and more; with so few, put them into the prompt instead"
        )
    for split, leaked in survey["leakage"].items():
        if leaked > 0.01:
            assumed.append(
                f"{leaked:.0%} of {split} are near copies of training examples: what is measured there is memory; take"
                " them out of one of the two"
            )
    assumed += [] if labels else _labels_noticed(survey)
    if survey["estimated"]:
        assumed.append(
            f"lengths are estimated ({survey['why_estimated'] or 'no tokenizer'}), so the cutoff lies"
            f" {MARGIN - 1:.0%} above them"
        )
    read = "prompt" if labels else "all"
    return {
        "examples": every - aside,
        "tokens": round(survey["total"][read] * share),
        "label_tokens": every - aside if labels else round(survey["total"]["answer"] * share),
        "length_95": survey["quantiles"][read]["95"],
        "length_99": survey["quantiles"][read]["99"],
        "length_max": survey["quantiles"][read]["100"],
        "duplicates": survey["duplicate_share"],
        "exact_duplicates": survey["exact_copies"] / max(1, every),
        "distinct_answers": survey["answers"]["distinct"],
        "labels_longest": survey["labels_longest"],
        "has_template": labels or survey["has_template"],
        "longest": tuple((n, a) for n, a in survey["longest"]),
        "mean_cut": tuple((c, n) for c, n in survey["mean_cut"]),
        "length_margin": MARGIN if survey["estimated"] else 1.0,
        "assumed": assumed,
    }, survey


def _of_pictures(survey: Mapping[str, Any], side: int | list[int]) -> dict[str, Any]:
    side = side if isinstance(side, int) else side[0]
    count = survey["examples"]["train"]
    return {
        "examples": count,
        "tokens": count * side,
        "label_tokens": count,
        "length_99": side,
        "length_max": side,
        "duplicates": survey["near_copies"] / count,
        "exact_duplicates": survey["exact_copies"] / count,
        "distinct_answers": len(survey["labels"]),
        "assumed": list(survey["advice"]),
    }


FEW_OF_A_LABEL = 30  # examples; a tenth of them validates


def _labels_noticed(survey: Mapping[str, Any]) -> list[str]:
    """Answers that are labels, said before anything is planned for them."""
    answers, every = survey["answers"], survey["examples"]["train"]
    if not answers["labels"]:
        return []
    shares = ", ".join(f"{text or '(empty)'} {share:.0%}" for text, share in answers["top"][:5])
    said = [
        f"the answers are {answers['distinct']} labels ({shares}{' …' if answers['distinct'] > 5 else ''}): they are"
        " learned as text; --task text-classification plans a classifier instead"
    ]
    if answers["named"] < 0.5:
        said.append("the prompts do not name the labels: a sentence that lists them tells the model what is asked")
    text, share = answers["top"][-1]
    if answers["distinct"] <= len(answers["top"]) and share * every < FEW_OF_A_LABEL:
        said.append(
            f"the label {text} has {share * every:.0f} examples, about {max(1, round(share * every / 10))} of them to"
            " validate with: what is measured of it is mostly chance"
        )
    return said


def _sketch(data: str, pixels: int | None) -> dict[str, Any]:
    """`sketch:5000x2048`: 5,000 examples of at most 2,048 tokens, for those who have no data at hand yet; images of
    `pixels` a side."""
    parts = SKETCH.fullmatch(data)
    if not parts or not int(parts[1]) or parts[2] == "0":
        raise SpecError(
            data, ["a sketch is written sketch:EXAMPLES or sketch:EXAMPLESxLONGEST, as in sketch:5000x2048 (tokens)"]
        )
    examples, longest = int(parts[1]), int(parts[2] or SKETCHED_LENGTH)
    if pixels:
        return {
            "examples": examples,
            "tokens": examples * pixels,
            "label_tokens": examples,
            "length_99": pixels,
            "length_max": pixels,
            "assumed": [f"no data were read: {examples:,} images to train on, of {pixels} × {pixels} pixels"],
        }
    mean = max(1, longest // 4)
    return {
        "examples": examples,
        "tokens": examples * mean,
        "label_tokens": examples * mean * 3 // 5,
        "length_99": longest,
        "length_max": longest,
        "labels_longest": longest * 3 // 5,
        "assumed": [
            f"no data were read: {examples:,} examples to train on, of at most {longest:,} tokens and {mean:,} on"
            " average"
        ],
    }


def _parameters(source: ModelSource, device: Device | None, say: Say) -> int:
    if source.known:
        return source.known.parameters
    traced = forecaster(device, say=say)(
        Workload.model_validate({"model": source.name, "method": "full", "max_length": 64, "dtype": "float32"})
    )
    return int(traced.model["parameters"])


def _which_machine(device: Device | None, on_cpu: bool) -> str:
    if on_cpu or device is None:
        gb = device.memory / 2**30 if device else 0
        return (
            f"no card was found and none named: planned for this machine's processor and its {gb:.0f} GiB of memory"
            " (--gpu 24GB plans for a card)"
        )
    return f"planned for the card of this machine, {device.name}"


def _device_name(device: Device | None, devices: int) -> str | None:
    if device is None:
        return None
    return f"{devices} × {device.name}" if devices > 1 else device.name


def _first(config: dict[str, Any], *names: str) -> int | None:
    return next((int(config[n]) for n in names if isinstance(config.get(n), int)), None)
