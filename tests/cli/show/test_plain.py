from trimtab.cli.show.plain import visible


def test_what_moves_a_cursor_is_shown_as_an_escape():
    assert visible("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert visible("x\u202ey") == "x\\u202ey"
    assert visible("line\nnext\ttab 中文 😀") == "line\nnext\ttab 中文 😀"
