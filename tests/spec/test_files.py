import os

import pytest

from trimtab.spec.files import write_whole


def test_a_file_is_there_whole_for_everybody(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_whole(path, "zwölf")
    write_whole(path, b"dreizehn")
    assert path.read_bytes() == b"dreizehn"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_what_was_there_stays_where_the_last_move_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "before")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]  # no half of a file beside it
