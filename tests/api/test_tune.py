import json
from types import SimpleNamespace

import pytest

from trimtab.api.tune import train

QUIET = lambda *_: None  # noqa: E731


@pytest.fixture
def rhymes(tmp_path):
    """Nothing like `small_file`: other words, other lengths, another form."""
    rows = [
        {"prompt": f"Give me a rhyme on {a} and {b}", "completion": f"O {a * 3}, {b}; never {b + a} but {a[::-1] + b}!"}
        for a, b in zip(
            map(str, range(1001, 1981, 13)),
            ["rose", "night", "sea", "wind", "tree", "star", "song", "hill"] * 9,
            strict=False,
        )
    ]
    path = tmp_path / "rhymes.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("gone", [False, True])
def test_a_recipe_on_other_data_than_it_was_written_for_is_told_how_different_they_are(
    small_file, rhymes, tmp_path, gone
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: bundled:tiny\ndata: {small_file}{'.gone' if gone else ''}\nmax_steps: 1\nmax_length: 64\n"
    )
    said = []
    watcher = SimpleNamespace(note=said.append, step=QUIET, cohort=QUIET, done=QUIET)
    train(recipe, overrides=[f"data={rhymes}"], out=tmp_path / "out", watcher=watcher)
    (sentence,) = (text for text in said if text.startswith("This recipe was made for other"))
    assert ("not known here" in sentence) if gone else ("plan anew" in sentence)
