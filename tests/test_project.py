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


NEUTRAL = ("run", "tuning", "workers", "store", "reporting", "api", "cli")  # rooms that every task goes through
LANGUAGE = re.compile(
    r"token|nats|\bkl_|chat_?template|logits|lm_head|exact_match|perplexity|vocab|\bchat\b|\bkl\b|divergence|instruct",
    re.IGNORECASE,
)
# What is about language models on purpose: the card and its pages, the data report and the forecast as they are shown,
# an option's name.
SPEAKS = {
    "api/card.py",
    "api/tune.py",
    "api/plan.py",
    "cli/card.py",
    "cli/plan.py",
    "cli/main.py",
    "cli/forecast.py",
    "cli/show/card.py",
    "cli/show/plan.py",
    "cli/show/forecast.py",
    "reporting/card.py",
    "reporting/card_parts.py",
    "reporting/pictures.py",
}
ALLOWED = {
    ("run/member.py", "tokens"),
    ("run/machine.py", "TOKENIZERS_PARALLELISM"),
}  # an old key of saved states; a library's switch


def _names_and_texts(tree):
    """Every identifier, import and string of a file, without its docstrings."""
    docs = {
        id(n.body[0].value) for n in ast.walk(tree)
        if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef) and n.body and isinstance(n.body[0], ast.Expr)
    }  # fmt: skip
    for n in ast.walk(tree):
        if isinstance(n, ast.Name | ast.Attribute | ast.arg):
            yield getattr(n, "id", None) or getattr(n, "attr", None) or n.arg
        elif isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs:
            yield n.value
        elif isinstance(n, ast.Import | ast.ImportFrom):
            yield from ((getattr(n, "module", None) or ""), *(a.name for a in n.names))


@pytest.mark.parametrize("room", NEUTRAL)
def test_outside_the_tasks_nobody_speaks_of_language_models(room):
    for path in (SOURCE / room).rglob("*.py"):
        name = str(path.relative_to(SOURCE))
        if name in SPEAKS or "migrations" in path.parts:
            continue
        found = {t for t in _names_and_texts(ast.parse(path.read_text(encoding="utf-8"))) if LANGUAGE.search(t)}
        assert not {t for t in found if (name, t) not in ALLOWED}, name


@pytest.mark.parametrize("room", ["run", "tuning", "workers", "store", "reporting"])
def test_the_neutral_rooms_import_no_task(room):
    """But the seam itself: a task is found by its name."""
    for path in (SOURCE / room).rglob("*.py"):
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = n.module if isinstance(n, ast.ImportFrom) else None
            assert not (module or "").startswith("trimtab.tasks.") or module == "trimtab.tasks.task", path


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
