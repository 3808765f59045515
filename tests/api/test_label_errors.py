"""Wrong labels in a person's own file, found and written back with its rows."""

import csv
import json
import random

import pytest

import trimtab
from trimtab.cli.main import app
from trimtab.errors import SpecError


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory, labelled_file):
    """(file, {row from 1 on: its true label} of the wrong ones): a column more, an empty row in between."""
    rows = [json.loads(line) for line in labelled_file.read_text().splitlines()]
    path, wrong = tmp_path_factory.mktemp("spoilt") / "mine.csv", {}
    spoilt_rows = random.Random(1).sample(range(len(rows)), 10)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["id", "text", "label"])
        writer.writeheader()
        writer.writerow({"id": "none", "text": "", "label": "metal"})
        for i, row in enumerate(rows):
            label = row["label"]
            if i in spoilt_rows:
                wrong[i + 2] = label
                label = {"colour": "animal", "animal": "metal", "metal": "colour"}[label]
            writer.writerow({"id": f"r{i}", "text": row["text"], "label": label})
    return path, wrong


def test_they_are_found_by_the_rows_of_the_file_that_was_given(tmp_path, spoilt, tiny_encoder):
    path, wrong = spoilt
    made = trimtab.label_errors(tiny_encoder, str(path), write=tmp_path / "s.csv")
    rows = {s["row"]: s["likely"] for s in made["suspects"]}
    assert made["examples"] == 120
    assert sum(rows.get(row) == label for row, label in wrong.items()) >= 5  # of ten; the encoder is two random layers
    written = list(csv.DictReader((tmp_path / "s.csv").open(newline="")))
    assert [int(w["trimtab_row"]) for w in written] == [s["row"] for s in made["suspects"]]
    original = list(csv.DictReader(path.open(newline="")))
    for w in written:
        source = original[int(w["trimtab_row"]) - 1]
        assert (w["id"], w["text"], w["label"]) == (source["id"], source["text"], source["label"])
        assert w["trimtab_given"] == source["label"]


def test_of_pictures_the_files_are_named(tmp_path, tiny_resnet, pictures_folder):
    made = trimtab.label_errors(tiny_resnet, str(pictures_folder), write=tmp_path / "s.csv")
    assert made["examples"] == 72
    assert all(s["row"] == s["example"] for s in made["suspects"])
    assert (tmp_path / "s.csv").exists()


def test_in_the_terminal(spoilt, tiny_encoder):
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["label-errors", tiny_encoder, str(spoilt[0])])
    assert result.exit_code == 0, result.output
    assert "of 120 labels are suspected; --write suspects.csv keeps them all" in result.output


def test_a_chat_model_is_refused(spoilt):
    with pytest.raises(SpecError, match="is a model for sft; name one that classifies"):
        trimtab.label_errors("bundled:tiny", str(spoilt[0]))
