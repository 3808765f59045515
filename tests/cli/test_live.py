import io

from rich.console import Console

from trimtab.cli.live import Live, sparkline
from trimtab.spec.recipe import Recipe

RECIPES = [Recipe(model="m", data="d", learning_rate=r) for r in (1e-4, 3e-4)]
STEPS = {r.run_id: 20 for r in RECIPES}


def shown(terminal):
    text = io.StringIO()
    live = Live(console=Console(file=text, force_terminal=terminal, width=160))
    with live:
        live.cohort(RECIPES, STEPS)
        for step in range(1, 6):
            live.step(RECIPES[0].run_id, {"step": step, "loss": 3.0 / step})
        live.step(RECIPES[0].run_id, {"evaluation": 0.7, "drift": 0.02})
        table = live.table() if terminal else None
    return text.getvalue(), table


def test_without_a_terminal_it_prints_lines_and_no_escape_codes():
    text, _ = shown(False)
    assert "\x1b" not in text
    assert "step 5/20: validation loss 0.700, drift 0.020 nats/token" in text


def test_a_run_that_joins_is_told_alone_and_by_what_differs():
    text = io.StringIO()
    live = Live(console=Console(file=text, width=400))
    joins = RECIPES[0].but(r=4)
    live.cohort(RECIPES, STEPS)
    live.cohort([RECIPES[0], joins], {**STEPS, joins.run_id: 20})
    first, second = text.getvalue().splitlines()
    assert RECIPES[0].run_id in first
    assert RECIPES[0].run_id not in second
    assert f"{joins.run_id} (rate 0.0001, batch {joins.effective_batch}, {joins.length}, r 4, seed" in second


def test_on_a_terminal_each_run_is_a_row():
    _, table = shown(True)
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    text = console.file.getvalue()
    assert text.count("rate 0.000") == 2
    assert "5/20" in text
    assert "left" in text


def test_the_share_of_the_time_that_is_used_is_shown():
    live = Live(console=Console(file=io.StringIO(), force_terminal=True), limit=540)
    live.began -= 270
    assert str(live.screen()).endswith("50% of 9 minutes used")
    live.cohort(RECIPES, STEPS)
    assert "50% of 9 minutes used" in live.table().title
    assert "used" not in str(Live(console=Console(file=io.StringIO())).screen())


def test_sparklines():
    assert sparkline([3, 2, 1]) == "█▄▁" or sparkline([3, 2, 1]) == "█▅▁"
    assert len(sparkline(list(range(1000)))) <= 16
    assert sparkline([]) == ""
    assert sparkline([1.0]) == "▁"
