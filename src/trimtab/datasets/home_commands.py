"""The bundled task: smart-home requests -> one JSON command, sampled from the intent grammar of home-assistant-intents.

Takes the unpacked grammar, gives messages by split. Device names are tied to their domains (nobody sets the
brightness of a coffee maker), and the sentence templates of validation and test never occur in training. A few
everyday questions are mixed into training.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab.datasets.grammar import Sampler, Unfillable

# The languages of the grammar that trimtab knows names for, and the examples of each split.
SPLITS = {"train": 240, "validation": 40, "test": 60}
LABELLED = {"train": 800, "validation": 250, "test": 400}  # where the intent alone is asked for
SYSTEM = {
    "en": "You control a smart home. Answer with one JSON command.",
    "zh-CN": "你控制一个智能家居。请只用一条 JSON 命令回答。",
}
INTENTS = (
    "HassTurnOn", "HassTurnOff", "HassLightSet", "HassClimateSetTemperature", "HassStartTimer", "HassCancelTimer",
    "HassSetVolume", "HassMediaNext", "HassMediaPause", "HassGetWeather", "HassShoppingListAddItem",
)  # fmt: skip
# Left out: commands inside commands, floors and opening hours of "this room", which nobody could answer from the text
# alone.
_LEFT_OUT = ("timer_command", "{floor}", "<here>", "{timer_half")
NAMES = {
    "en": {
        "light": ["reading lamp", "desk light", "ceiling light", "night light", "floor lamp"],
        "fan": ["ceiling fan", "tower fan", "desk fan"],
        "switch": ["coffee maker", "christmas tree", "heater plug", "water pump"],
        "cover": ["garage door", "left curtain", "roller shutter", "awning"],
        "media_player": ["television", "soundbar", "kitchen radio"],
        "climate": ["thermostat", "air conditioner"],
        "weather": ["berlin", "oslo", "madrid"],
    },
    "zh-CN": {
        "light": ["阅读灯", "台灯", "吸顶灯", "小夜灯"],
        "fan": ["吊扇", "落地扇"],
        "switch": ["咖啡机", "热水器", "水泵"],
        "cover": ["车库门", "左边窗帘", "卷帘"],
        "media_player": ["电视", "音箱"],
        "climate": ["空调", "暖气"],
        "weather": ["北京", "上海"],
    },
}
PLACES = {
    "en": {
        "area": ["kitchen", "bedroom", "living room", "bathroom", "office", "garage", "hallway", "dining room"],
        "item": ["milk", "bread", "apples", "coffee beans", "paper towels", "eggs"],
        "timer": ["pizza", "laundry", "tea"],
    },
    "zh-CN": {
        "area": ["厨房", "卧室", "客厅", "浴室", "书房", "走廊"],
        "item": ["牛奶", "面包", "苹果", "鸡蛋"],
        "timer": ["披萨", "洗衣", "泡茶"],
    },
}
_ROUND = {
    "brightness": range(10, 101, 10), "volume": range(10, 101, 10), "position": range(10, 101, 10),
    "volume_percentage": range(10, 101, 10), "fan_speed": range(20, 101, 20), "temperature": range(16, 27),
    "timer_seconds": range(10, 60, 10), "timer_minutes": (1, 2, 5, 10, 15, 20, 30, 45), "timer_hours": (1, 2, 3, 8),
    "color_temperature": range(2000, 6501, 500),
}  # fmt: skip


def messages_by_split(grammar_file: Path, language: str = "en", seed: int = 0) -> dict[str, list[list[dict[str, str]]]]:
    """Conversations (system, user, assistant) for each of train, validation, test; no request occurs twice."""
    grammar = json.loads(grammar_file.read_text(encoding="utf-8"))
    rng = random.Random(seed)
    pools = _templates_by_split(grammar, language, rng)
    seen: set[str] = set()
    by_split = {
        split: [_messages(language, *_sample(pools[split], grammar, language, rng, seen)) for _ in range(n)]
        for split, n in SPLITS.items()
    }
    by_split["train"] += _general_chat(language)
    return by_split


def intents_by_split(grammar_file: Path, language: str = "zh-CN", seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """Requests of all intents with the intent as label: rows of text and label. Validation and test have templates that
    training has not, so only intents with three templates and more."""
    grammar = json.loads(grammar_file.read_text(encoding="utf-8"))
    rng = random.Random(seed)
    pools = _templates_by_split(grammar, language, rng, sorted(grammar["intents"]))
    pools["train"] = {intent: pool for intent, pool in pools["train"].items() if intent in pools["test"]}
    seen: set[str] = set()
    rows = {
        split: [_sample(pools[split], grammar, language, rng, seen) for _ in range(n)] for split, n in LABELLED.items()
    }
    return {s: [{"text": text, "label": json.loads(c)["intent"]} for text, c in some] for s, some in rows.items()}


def _general_chat(language: str) -> list[list[dict[str, str]]]:
    """Ordinary questions for training only: a model that sees nothing but commands answers everything with one."""
    pairs = json.loads((Path(__file__).parent / "general_chat.json").read_text(encoding="utf-8"))[language]
    return [[{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for asked, said in pairs]


def _templates_by_split(
    grammar: dict[str, Any], language: str, rng: random.Random, intents: Sequence[str] = INTENTS
) -> dict[str, dict[str, list[Any]]]:
    """intent -> [(template, block)] for each split; about a fifth of each intent's templates for validation and test
    each."""
    pools: dict[str, dict[str, list[Any]]] = {split: {} for split in SPLITS}
    for intent in intents:
        blocks = grammar["intents"].get(intent, {"data": []})["data"]
        usable = [
            (s, b)
            for b in blocks
            if _domains(b, language) is not None
            for s in b["sentences"]
            if not any(mark in s for mark in _LEFT_OUT)
        ]
        rng.shuffle(usable)
        held = max(1, len(usable) // 5) if len(usable) >= 3 else 0
        parts = usable[2 * held :], usable[:held], usable[held : 2 * held]
        for split, part in zip(SPLITS, parts, strict=True):
            if part:
                pools[split][intent] = part
    return pools


def _domains(block: dict[str, Any], language: str) -> list[str] | None:
    """The device domains a block's {name} may come from; None where we know no such device."""
    wanted = (block.get("requires_context") or {}).get("domain")
    if wanted is None:
        return list(NAMES[language])
    known = [d for d in ([wanted] if isinstance(wanted, str) else wanted) if d in NAMES[language]]
    return known or None


def _sample(
    pool: dict[str, list[Any]], grammar: dict[str, Any], language: str, rng: random.Random, seen: set[str]
) -> tuple[str, str]:
    while True:
        intent = rng.choice(sorted(pool))
        template, block = rng.choice(pool[intent])
        sampler = Sampler(_lists(grammar, language, block), grammar["expansion_rules"], rng)
        try:
            text, slots = sampler.sentence(template)
        except Unfillable:
            continue
        if text.lower() not in seen:
            seen.add(text.lower())
            return text, _command(intent, slots, block)


def _lists(grammar: dict[str, Any], language: str, block: dict[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    places = PLACES[language]
    names = [n for d in _domains(block, language) or [] for n in NAMES[language][d]]
    lists: dict[str, list[tuple[str, Any]]] = {
        "name": [(n, n) for n in names],
        "area": [(a, a) for a in places["area"]],
        "shopping_list_item": [(i, i) for i in places["item"]],
        "timer_name": [(i, i) for i in places["timer"]],
    }
    for key, values in _ROUND.items():
        lists[key] = [(str(v), v) for v in values]
    for key, spec in grammar["lists"].items():
        if "values" in spec and key not in lists:
            pairs = [(v, v) if isinstance(v, str) else (v["in"], v["out"]) for v in spec["values"]]
            lists[key] = pairs
    return lists


def _command(intent: str, slots: dict[str, Any], block: dict[str, Any]) -> str:
    fixed = {k: v for k, v in (block.get("slots") or {}).items() if isinstance(v, str | int)}
    return json.dumps(
        {"intent": intent.removeprefix("Hass"), **fixed, **dict(sorted(slots.items()))}, ensure_ascii=False
    )


def _messages(language: str, request: str, command: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": SYSTEM[language]},
        {"role": "user", "content": request},
        {"role": "assistant", "content": command},
    ]
