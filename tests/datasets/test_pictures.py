"""Pictures as people have them: in folders, tables, parquet, CIFAR's own batches; broken ones are named."""

import csv
import io
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from trimtab.datasets import picture_look, pictures
from trimtab.datasets.label_items import labels_in
from trimtab.datasets.picture_items import table_lines, table_of
from trimtab.datasets.picture_sources import CHANGES, Picture, are_pictures, find, place_of
from trimtab.datasets.picture_survey import survey
from trimtab.errors import DataError


@pytest.fixture
def folder(tmp_path, pictures_folder):
    return shutil.copytree(pictures_folder, tmp_path / "p")


def encoded(image, kind="png", **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def noise(seed, mode="RGB", size=(12, 12)):
    values = np.random.default_rng(seed).integers(0, 255, (*size[::-1], len(mode)), dtype=np.uint8)
    return Image.fromarray(values.squeeze(), mode)


def test_a_folder_for_each_label(folder):
    made = pictures.load(str(folder))
    counts = {s: len(p) for s, p in made.examples.items()}
    assert sum(counts.values()) == 72
    assert min(counts.values()) >= 7
    assert labels_in(made) == ("above", "below", "middle")
    assert "near-copies kept on one side" in made.how_split
    assert made.examples == pictures.load(str(folder)).examples  # the same split, from what was kept
    lines = table_lines(table_of(made, 16))
    assert "20 × 16 pixels, given to the network as 16 × 16; 16 pixels are little" in lines[-1]


def test_folders_that_say_which_split_they_are(tmp_path, pictures_folder):
    for split in ("train", "val", "test"):
        shutil.copytree(pictures_folder, tmp_path / split)
    made = pictures.load(str(tmp_path))
    assert {s: len(p) for s, p in made.examples.items()} == {"train": 72, "validation": 72, "test": 72}
    assert survey(made)["leakage"] == {"validation": 1.0, "test": 1.0}
    assert "what is measured there is memory" in " ".join(survey(made)["advice"])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_table_of_paths(folder, suffix):
    rows = [{"file_name": str(p.relative_to(folder)), "label": p.parent.name} for p in sorted(folder.rglob("*.*g"))]
    path = folder / f"table.{suffix}"
    with path.open("w", newline="") as handle:
        if suffix == "jsonl":
            handle.write("".join(json.dumps(r) + "\n" for r in rows))
        else:
            writer = csv.DictWriter(handle, ["file_name", "label"], delimiter="\t" if suffix == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    assert are_pictures(str(path))
    made = pictures.load(str(path))
    assert labels_in(made) == ("above", "below", "middle")


def test_columns_may_be_named(folder):
    path = folder / "t.csv"
    path.write_text("photo,kind\n" + "".join(f"above/{i}.{'jpg' if i % 2 else 'png'},x\n" for i in range(24)))
    assert not are_pictures(str(path))
    with pytest.raises(DataError, match=r"t\.csv has the columns photo, kind; say which holds pictures"):
        pictures.load(str(path))
    assert are_pictures(f"{path}#photo,kind")
    _, found = find(f"{path}#photo,kind")
    assert [p.answer for p in found["train"]] == ["x"] * 24
    with pytest.raises(DataError, match="name the pictures' column and the labels', two of photo, kind"):
        find(f"{path}#photo,king")


def test_parquet_as_the_datasets_library_writes_it(tmp_path):
    import datasets

    rows = {"img": [noise(i) for i in range(40)], "label": [i % 2 for i in range(40)]}
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "d.parquet")
    assert are_pictures(str(tmp_path / "d.parquet"))
    assert labels_in(pictures.load(str(tmp_path / "d.parquet"))) == ("cat", "dog")


def cifar(folder, extra=None):
    """As its authors publish it: pickled dictionaries of bytes."""
    rng = np.random.default_rng(0)
    for name, count in (("data_batch_1", 30), ("data_batch_2", 30), ("test_batch", 20)):
        data = rng.integers(0, 255, (count, 3072), dtype=np.uint8)
        batch = {b"data": data, b"labels": [i % 3 for i in range(count)], **(extra or {})}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b"label_names": [b"plane", b"frog", b"ship"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))


def test_cifar_as_its_authors_publish_it(tmp_path):
    cifar(tmp_path)
    assert are_pictures(str(tmp_path))
    made = pictures.load(str(tmp_path))
    assert labels_in(made) == ("frog", "plane", "ship")
    assert len(made.examples["test"]) == 20
    first = next(p for p in find(str(tmp_path))[1]["test"])
    row = pickle.loads((tmp_path / "test_batch").read_bytes())[b"data"][0]
    pixels = np.asarray(picture_look.opened(first.read()))
    assert np.array_equal(pixels.transpose(2, 0, 1).flatten(), row)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Sly:
        def __reduce__(self):
            return (print, ("code ran",))

    cifar(tmp_path, {b"sly": Sly()})
    with pytest.raises(DataError, match=r"it holds \w+\.print, which is no plain data"):
        pictures.load(str(tmp_path))


def test_broken_files_are_named_and_left_out_when_asked(folder):
    (folder / "above" / "empty.png").write_bytes(b"")
    (folder / "below" / "text.jpg").write_text("no picture")
    cut = (folder / "middle" / "0.png").read_bytes()
    (folder / "middle" / "cut.png").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(DataError) as caught:
        pictures.load(str(folder))
    said = str(caught.value)
    assert "3 pictures cannot be read" in said
    assert all(part in said for part in ("empty.png (zero bytes)", "text.jpg (not a picture)", "cut.png (", "#skip-"))
    made = pictures.load(f"{folder}#skip-unreadable")
    assert made.dropped == 3
    assert sum(map(len, made.examples.values())) == 72


def test_a_picture_that_would_fill_the_memory_is_not_opened(folder, monkeypatch):
    monkeypatch.setattr(picture_look, "MOST_PIXELS", 1000)
    (folder / "above" / "big.png").write_bytes(encoded(Image.new("RGB", (50, 50))))
    with pytest.raises(DataError, match=r"big\.png \(50 × 50 pixels, above"):
        pictures.load(str(folder))


@pytest.mark.parametrize(
    ("image", "at_corner"),
    [
        (Image.new("L", (8, 8), 77), (77, 77, 77)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (9, 8, 7, 0)), (255, 255, 255)),
        (Image.new("LA", (8, 8), (50, 255)), (50, 50, 50)),
        (Image.new("RGB", (8, 8), (1, 2, 3)).quantize(4), (1, 2, 3)),
        (Image.fromarray(np.full((8, 8), 40000, np.uint16)), (0, 0, 0)),
    ],
)
def test_every_kind_of_picture_becomes_red_green_and_blue(image, at_corner):
    seen = picture_look.opened(encoded(image))
    assert seen.mode == "RGB"
    assert seen.getpixel((0, 0)) == at_corner


def test_turned_as_the_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert picture_look.opened(encoded(Image.new("RGB", (8, 4)), "jpeg", exif=exif)).size == (4, 8)


def test_copies_in_another_format_stay_on_one_side(folder):
    large = noise(7, size=(10, 8)).resize((160, 128), 3)
    large.save(folder / "above" / "once.png")
    large.resize((80, 64)).save(folder / "above" / "again.jpg")
    made = pictures.load(str(folder))
    sides = [s for s, some in made.examples.items() for p in some if p.name.endswith(("once.png", "again.jpg"))]
    assert len(sides) == 2
    assert len(set(sides)) == 1


def test_what_the_report_says(folder):
    shutil.copy(folder / "above" / "0.png", folder / "below" / "same.png")
    (folder / "rare").mkdir()
    for i in range(2):
        noise(i).save(folder / "rare" / f"{i}.png")
    made = pictures.load(str(folder))
    found = survey(made)
    assert found["examples"] == {s: len(p) for s, p in made.examples.items()}
    assert sum(found["labels"].values()) == found["examples"]["train"]
    advice = " ".join(found["advice"])
    assert "networks that learned from photographs see little" in advice
    assert ("few pictures of rare" in advice) == ("rare" in found["labels"])
    assert found["contrary"] == [] or "stand under two labels" in advice


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_keeps_what_is_in_a_picture(change):
    image = noise(1, size=(4, 4)).resize((64, 64), 3)
    plain, changed = (np.asarray(picture_look.resized(image, 64, c), float) for c in ("", change))
    assert changed.shape == plain.shape
    assert 0 < np.abs(changed - plain).mean() < 90
    assert np.corrcoef(changed.flatten(), plain.flatten())[0, 1] > 0.4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: (f / "empty").mkdir(), "lies in empty; each folder is a label"),
        (lambda f: [shutil.rmtree(f / n) for n in ("above", "below", "middle")], "holds no subfolders with pictures"),
        (lambda f: [p.unlink() for p in f.rglob("1*.*g")], "at least 24 are needed|leaves no pictures|has"),
    ],
)
def test_folders_that_cannot_be_learned_from(folder, make, said):
    make(folder)
    if said.startswith("at least"):
        for p in [*folder.rglob("2*.*g"), *folder.rglob("3.*g"), *folder.rglob("4.*g")]:
            p.unlink(missing_ok=True)
    with pytest.raises(DataError, match=said):
        pictures.load(str(folder))


def test_rows_without_a_picture_are_named(folder):
    path = folder / "t.csv"
    rows = "".join(f"above/{i}.{'jpg' if i % 2 else 'png'},a\n" for i in range(24))
    path.write_text("image,label\nnowhere.png,a\n" + rows)
    assert are_pictures(str(path))
    with pytest.raises(DataError, match=r"1 picture cannot be read: .*nowhere\.png \(is not there\)"):
        pictures.load(str(path))
    assert pictures.load(f"{path}#skip-unreadable").dropped == 1
    path.write_text("image,label\n,a\n")
    with pytest.raises(DataError, match=r"t\.csv, row 1 has no picture in image \(\); paths are read from"):
        find(str(path))


def test_what_systems_leave_behind_is_no_data(folder):
    for place in ("above/.git", "__MACOSX", "above/__MACOSX", ".hidden"):
        (folder / place).mkdir()
        noise(1).save(folder / place / "x.png")
    (folder / "above" / "._0.png").write_bytes(b"shadow")
    (folder / "above" / ".DS_Store").write_bytes(b"x")
    assert sum(map(len, pictures.load(str(folder)).examples.values())) == 72
    assert len(pictures.unlabelled([str(folder)])) == 72


def test_a_link_that_leads_nowhere_is_named(folder):
    (folder / "above" / "link.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DataError, match=r"link\.png \(is not there\)"):
        pictures.load(str(folder))


def test_the_report_says_what_would_be_refused(folder):
    (folder / "above").rename(folder / "Below")
    assert 'the labels "Below" and "below"' in " ".join(survey(pictures.load(str(folder)))["advice"])


def test_bundled_digits_are_the_same_everywhere():
    made = pictures.load("bundled:digits")
    assert {s: len(p) for s, p in made.examples.items()} == {"train": 1000, "validation": 300, "test": 497}
    assert labels_in(made) == tuple("0123456789")
    assert not {p.digest for p in made.examples["train"]} & {p.digest for p in made.examples["test"]}
    with pytest.raises(DataError, match=r"no bundled pictures \"emojis\"; did you mean \"emoji\""):
        find("bundled:emojis")


def test_what_can_be_asked_without_labels(folder, tmp_path):
    assert len(pictures.unlabelled([str(folder)])) == 72
    with pytest.raises(DataError, match="does not exist; give a picture"):
        pictures.unlabelled(["nowhere.png"])
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"1 of 1 pictures cannot be read: .*not a picture"):
        pictures.unlabelled([str(tmp_path / "x.png")])


def test_a_mark_may_be_in_a_folders_own_name(tmp_path):
    (tmp_path / "pictures#1").mkdir()
    assert place_of(str(tmp_path / "pictures#1")) == (tmp_path / "pictures#1", "")
    assert place_of(str(tmp_path / "t.csv#photo,kind")) == (tmp_path / "t.csv", "photo")


def test_a_table_may_name_pictures_without_labels(folder, tmp_path):
    files = sorted(folder.rglob("*.png"))[:3]
    table = tmp_path / "t.csv"
    table.write_text("id,photo\n" + "".join(f"{i},{f}\n" for i, f in enumerate(files)), encoding="utf-8")
    assert [p.name for p in pictures.unlabelled([f"{table}#photo"])] == [str(f) for f in files]
    with pytest.raises(DataError, match="has the columns id, photo; say which holds pictures"):
        pictures.unlabelled([str(table)])
    table.write_text("image\nnowhere.png\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"row 1 has no picture in image \(nowhere.png\)"):
        pictures.unlabelled([str(table)])


def test_a_file_that_changed_is_looked_at_again(folder):
    before = pictures.load(str(folder)).examples
    noise(5, size=(20, 16)).save(folder / "above" / "0.png")
    after = pictures.load(str(folder)).examples
    assert {p.digest for some in before.values() for p in some} != {p.digest for some in after.values() for p in some}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "labels"), [("emoji", 8), ("fashion-mnist", 10)])
def test_bundled_pictures_are_read(name, labels):
    made = pictures.load(f"bundled:{name}")
    assert len(labels_in(made)) == labels
    assert len(made.examples["train"]) == 1000
    assert isinstance(made.examples["train"][0], Picture)


def test_a_data_set_of_the_hub(monkeypatch):
    import datasets
    from trimtab.datasets import picture_sources

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    part = datasets.Dataset.from_dict({"img": [noise(i) for i in range(40)], "label": [0, 1] * 20}, features=features)
    monkeypatch.setattr(picture_sources, "loaded", lambda _name: {"train": part, "test": part})
    made = pictures.load("someone/pets")
    assert (labels_in(made), len(made.examples["test"])) == (("cat", "dog"), 40)
    texts = datasets.Dataset.from_dict({"text": ["a"], "label": [1]})
    monkeypatch.setattr(picture_sources, "loaded", lambda _name: {"train": texts})
    with pytest.raises(DataError, match=r"has 0 columns of pictures and 0 of named labels \(text, label\)"):
        pictures.load("someone/texts")
