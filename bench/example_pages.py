"""The examples' results as pages of docs/examples/: nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from trimtab.analysis import stats

SHOWN = (
    "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "r",
    "lora_alpha", "max_length", "lr_scheduler_type", "warmup_steps", "weight_decay",
)  # fmt: skip
WRITTEN = "(written by `python bench/examples.py`, {})"
MACHINE = "AMD EPYC, two cores with bfloat16; one thread, beside another process: read ratios"
Results = dict[str, dict[str, Any]]


def write(results: Path, folder: Path) -> None:
    """A page for each example that has results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in (("sentiment", sentiment), ("images", images), ("instructions", instructions)):
        found = {f.stem.removeprefix(f"{name}-"): json.loads(f.read_text()) for f in results.glob(f"{name}-*.json")}
        if len(found) > 1:
            (folder / f"{name}.md").write_text("\n".join(page(found)) + "\n", encoding="utf-8")


def sentiment(found: Results) -> list[str]:
    lines = [
        "# Sentiment on a Llama backbone", "", WRITTEN.format(_date(found)), "",
        "The articles' first example: Llama-2-7B with a head for two classes, 1,000 short reviews, fp16 on a card of 16 GB; rate 2e-5, batch 2,"
        " three epochs, everything padded to 128 tokens, the best epoch by F1 restored. As a recipe:"
        " [sentiment_llama2.yaml](../../examples/sentiment_llama2.yaml).", "",
        "## Does it fit?", "", *_forecast(found["forecast"]), "",
        "As written it does not: all weights under fp16 are kept in 32 bits, with gradients and two moments beside them. The nearest that does on such a card is LoRA, or QLoRA with room to spare.", "",
        "## What it gave here", "",
        f"{MACHINE}. SmolLM2-135M in place of Llama-2-7B, 120 film reviews to train on and 300 to test (the bundled set; reviews in Chinese do not come along); the same reviews and seeds for all.", "",
        "| | seconds of training | against the script | accuracy | macro F1 | accuracy against the script |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    names = {
        "written": "the script as written (transformers' Trainer, padded to 128)",
        "ours": "the same settings as a recipe (padded to the longest of a batch)",
        "lora": "LoRA r 8 at 2e-4 instead of all weights",
    }
    base = _cases(found, "written")
    for key, words in names.items():
        if not (some := _cases(found, key)):
            continue
        pairs = [(a, b) for a, b in zip(some, base, strict=False)]
        gap = _gap([_minus(a["right"], b["right"]) for a, b in pairs]) if key != "written" else None
        ratio = mean(b["loop"] / a["loop"] for a, b in pairs)
        lines.append(
            f"| {words} | {_mean(some, 'loop'):.0f} | {ratio:.1f}× as fast | {mean(mean(s['right']) for s in some):.1%} | "
            f"{_mean(some, 'f1'):.3f} | {_points(gap)} |"
        )
    return [*lines, "", f"{len(base)} seed{'s' if len(base) > 1 else ''}; differences with 95 % intervals over seeds and test examples{_one(base)}."]  # fmt: skip


def images(found: Results) -> list[str]:
    lines = [
        "# Images with two rates, varied pictures, and an ablation", "", WRITTEN.format(_date(found)), "",
        "The articles' second example: ResNet-18 with ImageNet's weights on CIFAR-10, a plain PyTorch loop. As a recipe: [resnet18_cifar10.yaml](../../examples/resnet18_cifar10.yaml),"
        " which reads CIFAR-10's own folder or one with a subfolder for each label (`data=FOLDER`). Neither ResNet-18's weights nor CIFAR-10 come along, so it ran on the bundled networks and"
        " pictures: 1,000 of 64 × 64 pixels, batch 32, up to 12 epochs with patience 10; the rest as in the article.", "",
        "## Does it fit?", "", *_forecast(found["forecast"]), "",
        "## The article's ablation, with intervals", "",
        "Validation loss against the recipe as it is (above 0: worse without it), over seeds and pictures:", "",
    ]  # fmt: skip
    for key, one in found.items():
        if key.startswith("ablation-"):
            lines += [f"**{key.removeprefix('ablation-')}**, {one['seeds']} seeds: {one['sentence']}", ""]
            lines += ["| | validation loss | difference, 95 % | |", "|---|---|---|---|"]
            lines += [_cell(c) for c in one["cells"]] + [""]
    lines += [
        "## Beside the article's loop",
        "",
        f"{MACHINE}. Accuracy on test pictures, the same pictures and seeds:",
        "",
    ]
    lines += ["| | seconds of training | accuracy | against the loop, 95 % |", "|---|---|---|---|"]
    sets = sorted({k.split("-", 1)[1].rsplit("-", 1)[0] for k in found if k.startswith("written-")})
    for name in sets:
        theirs, ours = (_cases(found, f"{who}-{name}") for who in ("written", "ours"))
        if not ours:
            continue
        gap = _gap([_minus(a["right"], b["right"]) for a, b in zip(ours, theirs, strict=False)])
        lines.append(f"| {name}: the loop as written | {_mean(theirs, 'loop'):.0f} | {_accuracy(theirs)} | |")
        lines.append(f"| {name}: the recipe, from its probe | {_mean(ours, 'loop'):.0f} | {_accuracy(ours)} | {_points(gap)} |")  # fmt: skip
    return lines


def instructions(found: Results) -> list[str]:
    some = _cases(found, "written")
    settings = {who: _cases(found, who)[0]["settings"] for who in ("written", "planned") if _cases(found, who)}
    lines = [
        "# Instruction tuning by the article's command", "", WRITTEN.format(_date(found)), "",
        "The articles' third example: LLaMA-Factory, Qwen2.5-7B-Instruct, LoRA of rank 8, rate 5e-5, batch 1 × 8, three epochs, cutoff 4,096. As a recipe:"
        " [qwen25_7b_lora.yaml](../../examples/qwen25_7b_lora.yaml).", "",
        "## Its memory", "",
        "The article counts 25.5 GB at 4K tokens: weights 14, framework 1, adapter 0.5, activations 2.5 for each 1K tokens (with Liger kernels 0.6). The forecast, traced from the installed code:", "",
        *_forecast(found["forecast"]), "",
        "## What it gave here", "",
        f"SmolLM2-135M-Instruct on the bundled home commands ({len(some)} seed{'s' if len(some) > 1 else ''}), beside what `trimtab plan` starts from:", "",
        "| | " + " | ".join(settings) + " |", "|---|" + "---|" * len(settings),
    ]  # fmt: skip
    lines += [f"| {k} | {' | '.join(str(s[k]) for s in settings.values())} |" for k in SHOWN]
    rows = (
        ("exact match", lambda c: f"{c['task'].get('exact_match', float('nan')):.1%}"),
        ("validation loss", lambda c: f"{c['loss']:.3f}"),
        ("drift, KL on generic prompts", lambda c: f"{c['rows']['kl_generic']['value']:.3f}" if "kl_generic" in c["rows"] else "–"),
        ("verdict against `standard` (short card)", lambda c: c["verdict"]),
        ("seconds of training", lambda c: f"{c['loop']:.0f}"),
    )  # fmt: skip
    for words, of in rows:
        lines.append(
            f"| **{words}** | {' | '.join(', '.join(of(c) for c in _cases(found, who)) for who in settings)} |"
        )
    return [*lines, "", f"{MACHINE}. Values by seed."]


def _gap(by_seed: list[list[float]]) -> Any:
    """Over seeds and examples; of one seed over examples alone."""
    return stats.recipe_gain(by_seed) if len(by_seed) > 1 else stats.mean(by_seed[0])


def _date(found: Results) -> str:
    return max(one["date"] for one in found.values())


def _forecast(one: dict[str, Any]) -> list[str]:
    lines = ["| | card | needs | |", "|---|---|---|---|"]
    fits = {"fits": "fits", "tight": "tight", "does not fit": "does not fit"}
    return lines + [f"| {r['case']} | {r['card']} | {r['gib']:.1f} GiB | {fits.get(r['fit'], r['fit'])} |" for r in one["rows"]]  # fmt: skip


def _cases(found: Results, key: str) -> list[dict[str, Any]]:
    """By seed."""
    return [found[k] for k in sorted(found) if k.rsplit("-", 1)[0] == key]


def _minus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _mean(some: Sequence[dict[str, Any]], key: str) -> float:
    return mean(s[key] for s in some)


def _accuracy(some: Sequence[dict[str, Any]]) -> str:
    return f"{mean(mean(s['right']) for s in some):.1%}"


def _points(gap: Any) -> str:
    return "" if gap is None else f"{100 * gap.value:+.1f} [{100 * gap.low:.1f}, {100 * gap.high:.1f}]"


def _one(some: Sequence[Any]) -> str:
    return " (of one seed over examples alone: another seed may tell otherwise)" if len(some) == 1 else ""


def _cell(cell: dict[str, Any]) -> str:
    gap = cell["against"]
    shown = f"{gap['value']:+.3f} [{gap['low']:.3f}, {gap['high']:.3f}]" if gap else ""
    said = f"{gap['verdict']}" + (f" ({gap['need']})" if gap.get("need") else "") if gap else ""
    return f"| {cell['cell']} | {cell['mean']:.3f} | {shown} | {said} |"
