import json

import pytest

from trimtab.datasets.assets import fetch
from trimtab.datasets.home_commands import SPLITS, messages_by_split


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_bundled_task(language):
    grammar = fetch("home-commands", lambda _: None) / f"{language}.json"
    splits = messages_by_split(grammar, language)
    commands = {s: [m for m in rows if m[0]["role"] == "system"] for s, rows in splits.items()}
    assert {s: len(rows) for s, rows in commands.items()} == SPLITS
    assert len(splits["train"]) > len(commands["train"])  # some ordinary conversation
    requests = [m[1]["content"].lower() for rows in commands.values() for m in rows]
    assert len(set(requests)) == len(requests)
    for rows in commands.values():
        for messages in rows:
            command = json.loads(messages[-1]["content"])
            assert command["intent"]
            # what is asked for can be read off the request
            assert all(str(v) in messages[1]["content"] for k, v in command.items() if k in ("name", "area", "item"))
    assert splits == messages_by_split(grammar, language)


def test_brightness_is_only_asked_of_lights():
    splits = messages_by_split(fetch("home-commands", lambda _: None) / "en.json", "en")
    for messages in splits["train"]:
        command = messages[-1]["content"]
        if '"LightSet"' in command and '"name"' in command:
            assert "light" in command.split('"name"')[1] or "lamp" in command.split('"name"')[1]
