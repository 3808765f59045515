"""The project's own promises: the map equals the tree, the public names are __all__, the layers hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trimtab

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "trimtab"
FILES = sorted(SOURCE.rglob("*.py"))


def test_the_file_map_equals_the_tree():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = re.search(r"```\nsrc/trimtab/\n(.*?)```", text, re.S).group(1)
    mapped, room = set(), ""
    for line in block.splitlines():
        name = line.split()[0]
        if name.endswith("/"):
            room = name
        else:
            mapped.add(name if line.startswith("  ") and not line.startswith("    ") else room + name)
    kept = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    kept = {p for p in kept if not p.endswith("/__init__.py")}
    assert mapped == kept


def test_the_public_names_are_exactly_all():
    for name in trimtab.__all__:
        assert getattr(trimtab, name) is not None
    assert set(dir(trimtab)) == set(trimtab.__all__)


def test_no_room_has_the_name_of_a_verb():
    """Python would put the room in the verb's place as soon as anything in it is imported."""
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir()}
    assert not rooms & set(trimtab.__all__)
    with pytest.raises(AttributeError):
        trimtab.nothing  # noqa: B018


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_stay_small_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a file opens with what it takes, gives and must not do"
    assert len(text.splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name


def test_the_layers_hold():
    done = subprocess.run([str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_readme_names_only_commands_that_exist():
    from typer.main import get_command

    from trimtab.cli.main import app

    verbs = set(get_command(app).commands)
    for file in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        used = set(re.findall(r"^ *trimtab ([a-z][a-z-]+)", (ROOT / file).read_text(encoding="utf-8"), re.M))
        assert used <= verbs, file
