import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimtab.datasets.read import read
from trimtab.errors import DataError

ROWS = [{"prompt": f"p{i}", "completion": f"ç{i}"} for i in range(3)]


def files(folder):
    (folder / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS), encoding="utf-8")
    (folder / "b.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (folder / "c.csv").write_text(
        "prompt,completion\n" + "".join(f"p{i},ç{i}\n" for i in range(3)), encoding="utf-8-sig"
    )
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "d.parquet")
    return sorted(folder.iterdir())


def test_every_kind_of_file_gives_the_same_rows(tmp_path):
    for path in files(tmp_path):
        assert read(str(path)).rows == {"train": ROWS}, path


def test_a_folder_splits_by_file_name(tmp_path):
    for name in ("train", "test", "val"):
        (tmp_path / f"{name}.json").write_text(json.dumps(ROWS), encoding="utf-8")
    assert {k: len(v) for k, v in read(str(tmp_path)).rows.items()} == {"train": 3, "test": 3, "validation": 3}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.jsonl", b"", "is empty"),
        ("f.jsonl", b'{"a": 1}\n{oops\n', "line 2 is not JSON"),
        ("g.jsonl", b"\xff\xfe\x00", "not UTF-8"),
        ("h.json", b"3", "must hold a list"),
        ("i.json", b"[1]", "item 0 is int"),
        ("j.parquet", b"no", "cannot be read as parquet"),
        ("k.txt", b"hello", "ends in .txt"),
        ("l.csv", b"a,b\n", "holds no rows"),
        ("n.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        ("o.json", b'{"train": [], "test": [{"prompt": "a"}]}', "no rows to train on"),
        ("m.csv", b"prompt,completion\na,b,c\n", "line 2 has more fields"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        read(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_things_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read("nothing.jsonl")
    with pytest.raises(DataError, match="did you mean"):
        read("bundled:home-command")
    with pytest.raises(DataError, match=r"holds no \.jsonl"):
        read(str(tmp_path))
    with pytest.raises(DataError, match="hub did not give it"):
        read("nobody/nothing")


def test_odd_but_right_files(tmp_path):
    (tmp_path / "a.JSONL").write_text(
        json.dumps({"prompt": "x\u2028y", "completion": "z\x85"}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    assert read(str(tmp_path / "a.JSONL")).rows["train"] == [{"prompt": "x\u2028y", "completion": "z\x85"}]
    (tmp_path / "b.csv").write_text("prompt;completion\na, b;c\n" + "x" * 200_000 + ";y\n", encoding="utf-8")
    assert read(str(tmp_path / "b.csv")).rows["train"][0] == {"prompt": "a, b", "completion": "c"}


def test_one_json_file_may_hold_all_splits(tmp_path):
    path = tmp_path / "all.json"
    path.write_text(
        json.dumps({"train": ROWS, "validation": ROWS[:1], "test": ROWS[:2], "info": [1]}), encoding="utf-8"
    )
    assert {k: len(v) for k, v in read(str(path)).rows.items()} == {"train": 3, "validation": 1, "test": 2}
    path.write_text(json.dumps({"version": 1, "data": ROWS}), encoding="utf-8")
    assert read(str(path)).rows == {"train": ROWS}


def test_half_a_surrogate_pair_is_said(tmp_path):
    path = tmp_path / "half.jsonl"
    path.write_text(
        '{"prompt": "a", "completion": "b"}\n{"prompt": "x \\ud83d y", "completion": "b"}\n', encoding="utf-8"
    )
    with pytest.raises(DataError, match="line 2 holds half of a surrogate pair"):
        read(str(path))
    whole = tmp_path / "whole.jsonl"
    whole.write_text('{"prompt": "\\ud83d\\ude00", "completion": "b"}\n', encoding="utf-8")
    assert read(str(whole)).rows["train"][0]["prompt"] == "\U0001f600"


def test_a_sketch_has_no_examples():
    with pytest.raises(DataError, match="only trimtab plan can use"):
        read("sketch:500x128")
