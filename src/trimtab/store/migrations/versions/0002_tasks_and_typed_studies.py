"""Studies have a kind and a typed record, every task its own unit of size, and drift is called drift.

Ids stay. What is renamed: steps.tokens -> size; updates.heard -> gradient_shares; in a run's result tokens -> size;
in studies and decisions kl -> drift, and a tune study's facts as spec/study.py has them; memory in GiB where it
stood in GB.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"
WORDS = {
    "unit": "nats/token",
    "size": "tokens",
    "drift_key": "kl_generic",
    "drift": "nats/token",
    "drift_axis": "drift on generic prompts, nats/token",
}
METRICS = {"exact_match": "Exact match", "overlap": "Overlap with the reference (F1)"}


def upgrade() -> None:
    op.add_column("studies", sa.Column("kind", sa.String()))
    op.execute("ALTER TABLE steps RENAME COLUMN tokens TO size")
    op.execute("ALTER TABLE updates RENAME COLUMN heard TO gradient_shares")
    text = "CAST(CAST({0} AS TEXT) AS JSON)" if op.get_bind().dialect.name == "postgresql" else "{0}"
    names = (("tokens", "weight"), ("voices", "shares"), ("voices_adam", "shares_adam"))
    _rename_keys("updates", "gradient_shares", names, text)
    _rename_keys("runs", "result", (("tokens", "size"),), text)
    _rename_keys("forecasts", "predicted", (("flops_per_token", "flops_per_size"),), text)
    _rename_keys("forecasts", "measured", (("tokens_per_second", "size_per_second"),), text)
    # Whoever goes on with a study asks for its runs anew; a job that still waits is told in words that workers know no
    # more.
    op.execute("DELETE FROM jobs WHERE status IN ('WAITING', 'RUNNING')")
    _each_study()
    _each("decisions", "evidence", drift)


def _rename_keys(table: str, column: str, names: tuple[tuple[str, str], ...], text: str) -> None:
    """In the database itself, as text: these tables may be long. A quoted name inside a stored text is escaped
    there, and stays."""
    sql = f"CAST({column} AS TEXT)"
    for old, new in names:
        sql = f"""REPLACE({sql}, '"{old}":', '"{new}":')"""
    op.execute(sa.text(f"UPDATE {table} SET {column} = {text.format(sql)}".replace(":'", r"\:'")))


def _each_study() -> None:
    bind = op.get_bind()
    for row in bind.execute(sa.text("SELECT id, asked, facts FROM studies")).fetchall():
        asked, facts = _value(row.asked), drift(_value(row.facts))
        kind = asked.get("kind", "tune")
        if "memory_gb" in (machine := asked.get("machine") or {}):
            machine["memory_gib"] = machine.pop("memory_gb") * 1e9 / 2**30
        facts = _tuned(facts) if kind == "tune" else _designed(facts)
        new = {"id": row.id, "kind": kind, "asked": json.dumps({**asked, "kind": kind}), "facts": json.dumps(facts)}
        bind.execute(_update("studies", "kind = :kind, {asked}, {facts}"), new)


def _each(table: str, column: str, change: Any) -> None:
    bind = op.get_bind()
    for row in bind.execute(sa.text(f"SELECT id, {column} AS held FROM {table}")).fetchall():
        bind.execute(_update(table, f"{{{column}}}"), {"id": row.id, column: json.dumps(change(_value(row.held)))})


def _update(table: str, columns: str) -> Any:
    cast = "{0} = CAST(:{0} AS JSON)" if op.get_bind().dialect.name == "postgresql" else "{0} = :{0}"
    names = {name: cast.format(name) for name in ("asked", "facts", "evidence")}
    return sa.text(f"UPDATE {table} SET {columns.format(**names)} WHERE id = :id")


def _value(held: Any) -> Any:
    """SQLite gives JSON as text, PostgreSQL as values."""
    return json.loads(held) if isinstance(held, str) else held


def drift(value: Any) -> Any:
    """Every key kl is drift."""
    if isinstance(value, dict):
        return {"drift" if k == "kl" else k: drift(v) for k, v in value.items()}
    return [drift(v) for v in value] if isinstance(value, list) else value


def _tuned(facts: dict[str, Any]) -> dict[str, Any]:
    facts["data_profile"] = facts.pop("data_fingerprint", None)
    if pace := facts.pop("seconds_per_token", None):
        about = facts.get("facts") or {}
        size, examples = about.get("tokens", 0), about.get("examples", 0)
        facts["timed"] = {"per_size": pace, "size": size, "examples": examples, "micro": facts.get("timed_at") or 1}
    facts.pop("timed_at", None)
    if about := facts.get("facts"):
        about["memory_gib"] = about.pop("memory_gb", 0) * 1e9 / 2**30
    if table := facts.get("data"):
        table["rows"] = _table_rows(table)
    if ended := facts.get("recommendation"):
        ended["metric_title"] = METRICS.get(ended["metric"], ended["metric"])
    return facts


def _table_rows(t: dict[str, Any]) -> list[list[str]]:
    """What was read, as pages had it until now."""
    examples, lengths = ", ".join(f"{n:,} {split}" for split, n in t["examples"].items()), t["lengths"]
    return [
        ["form", f"{t['form']}; split {t['split']}"],
        ["examples", examples],
        ["tokens", f"{t['tokens']:,} to train on, {t['masked_share']:.0%} of them masked (prompt and template)"],
        ["lengths", ", ".join(f"{p} % ≤ {lengths[p]}" for p in ("50", "95", "99") if p in lengths) + " tokens"],
        ["cutoff", f"{t['max_length']} tokens: {t['cut_examples']:,} examples cut"],
        ["chat template", t["template"]],
    ]


def _designed(facts: dict[str, Any]) -> dict[str, Any]:
    """How quick it was is not kept: with which micro-batch it was timed was not written down; a study that goes on
    times anew."""
    for key in ("per_token", "tokens", "examples", "evaluated"):
        facts.pop(key, None)
    if facts.get("result"):
        facts["result"]["words"] = WORDS
    return facts
