"""Options spelled once: a flag for each field of StudyOptions that a command names, and names of before."""

import dataclasses

import pytest
import typer
from typer.testing import CliRunner

from trimtab.cli.options import OLD_COMMANDS, OLD_OPTIONS, Json, Renamed, print_json, study_options
from trimtab.errors import SpecError
from trimtab.spec.options import StudyOptions

NAMES = tuple(f.name for f in dataclasses.fields(StudyOptions))


@pytest.fixture
def typed():
    """Runs a command that takes every option; gives the options it got and what was said."""
    app, got = typer.Typer(cls=Renamed), []

    @app.command()
    @study_options(*NAMES)
    def scan(model: str, as_json: Json = False, *, options: StudyOptions) -> None:
        got.append((model, as_json, options))

    @app.command()
    def gradient_shares(run: str) -> None:
        got.append(run)

    def call(*args):
        got.clear()
        result = CliRunner().invoke(app, list(args))
        return (got[0] if got else None), result

    return call


def test_what_nobody_typed_is_the_default_of_the_field(typed):
    got, result = typed("scan", "m")
    assert result.exit_code == 0, result.output
    assert got == ("m", False, StudyOptions())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (StudyOptions(workers=2, on="local", cohort=1), "--on local --workers 2 --cohort 1"),
        (StudyOptions(race=False, share_start=False, yes=True), "--no-share-start --no-race --yes"),
        (StudyOptions(budget="tight", card="short", out="x"), "--budget tight --card short --out x"),
    ],
)
def test_what_options_say_of_themselves_gives_them_again(typed, options, words):
    assert sorted(options.typed()) == sorted(words.split())
    got, result = typed("scan", "m", *options.typed())
    assert result.exit_code == 0, result.output
    assert got[2] == options


def test_a_word_that_is_no_level_is_said_in_one_sentence_with_the_others(typed):
    _, result = typed("scan", "m", "--card", "deep", "--cohort", "0")
    assert isinstance(result.exception, SpecError)
    assert '--card: got "deep"; allowed are' in str(result.exception)
    assert "--cohort: got 0; at least 1" in str(result.exception)


def test_old_names_work_and_say_the_new_one(typed):
    got, result = typed("scan", "m", "--no-trunk")
    assert got[2].share_start is False
    assert "--no-trunk is called --no-share-start now" in result.output
    got, result = typed("voices", "voices")
    assert got == "voices"  # an argument that happens to be called so is left alone
    assert "voices is called gradient-shares now" in result.output
    assert not set(OLD_OPTIONS) & set(OLD_OPTIONS.values())
    assert not set(OLD_COMMANDS) & set(OLD_COMMANDS.values())


def test_data_are_printed_as_they_are_in_any_script(capsys):
    print_json({"a": "中文 ‖"})
    assert capsys.readouterr().out == '{\n "a": "中文 ‖"\n}\n'
