"""The tables as they were before stores had a version. A store that has them is stamped with this and not made
again."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    text, number = sa.Text(), sa.Float()
    op.create_table(
        "studies",
        sa.Column("id", sa.String(), primary_key=True), sa.Column("created", number, nullable=False),
        sa.Column("status", sa.String(), nullable=False), sa.Column("seconds", number, nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False), sa.Column("facts", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "runs",
        sa.Column("id", sa.String(), primary_key=True), sa.Column("study", sa.String(), index=True),
        sa.Column("created", number, nullable=False), sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False), sa.Column("reason", text), sa.Column("cohort", sa.String()),
        sa.Column("total_steps", sa.Integer()), sa.Column("result", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "study_runs", sa.Column("study", sa.String(), primary_key=True), sa.Column("run", sa.String(), primary_key=True)
    )
    op.create_table(
        "steps",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("step", sa.Integer(), primary_key=True),
        sa.Column("loss", number), sa.Column("learning_rate", number), sa.Column("grad_norm", number),
        sa.Column("tokens", sa.Integer()), sa.Column("seconds", number),
    )  # fmt: skip
    op.create_table(
        "updates",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("step", sa.Integer(), primary_key=True),
        sa.Column("heard", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "evaluations",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("step", sa.Integer(), primary_key=True),
        sa.Column("share", number, nullable=False), sa.Column("loss", number, nullable=False),
        sa.Column("items", sa.JSON(), nullable=False), sa.Column("pulse", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True), sa.Column("time", number, nullable=False),
        sa.Column("study", sa.String(), index=True), sa.Column("run", sa.String(), index=True),
        sa.Column("step", sa.Integer()), sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", text, nullable=False),
    )  # fmt: skip
    op.create_index("events_by_run", "events", ["run", "step"])
    op.create_table(
        "forecasts",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("created", number, nullable=False),
        sa.Column("predicted", sa.JSON(), nullable=False), sa.Column("measured", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "cards",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("created", number, nullable=False),
        sa.Column("measured", sa.JSON(), nullable=False), sa.Column("judged", sa.JSON(), nullable=False),
    )  # fmt: skip
    _answers_and_jobs(text, number)


def _answers_and_jobs(text: sa.Text, number: sa.Float) -> None:
    op.create_table(
        "samples",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("place", sa.Integer(), primary_key=True),
        sa.Column("probe", sa.String(), nullable=False), sa.Column("prompt", text, nullable=False),
        sa.Column("reference", text), sa.Column("base", text, nullable=False), sa.Column("tuned", text, nullable=False),
    )  # fmt: skip
    op.create_table(
        "reviews",
        sa.Column("review", sa.String(), primary_key=True), sa.Column("place", sa.Integer(), primary_key=True),
        sa.Column("names", sa.JSON(), nullable=False), sa.Column("probe", sa.String(), nullable=False),
        sa.Column("prompt", text, nullable=False), sa.Column("reference", text),
        sa.Column("first", text, nullable=False), sa.Column("second", text, nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=False), sa.Column("vote", sa.String()),
    )  # fmt: skip
    op.create_table(
        "labels",
        sa.Column("run", sa.String(), primary_key=True), sa.Column("probe", sa.String(), primary_key=True),
        sa.Column("place", sa.Integer(), primary_key=True), sa.Column("side", sa.String(), primary_key=True),
        sa.Column("label", number, nullable=False),
    )  # fmt: skip
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), primary_key=True), sa.Column("study", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False), sa.Column("sentence", text, nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False), sa.UniqueConstraint("study", "place"),
    )  # fmt: skip
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), primary_key=True), sa.Column("study", sa.String(), index=True),
        sa.Column("created", number, nullable=False), sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("runs", sa.JSON(), nullable=False), sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False), sa.Column("owner", sa.String()), sa.Column("beat", number),
        sa.Column("attempts", sa.Integer(), nullable=False), sa.Column("reason", text),
    )  # fmt: skip
    op.create_table("stops", sa.Column("run", sa.String(), primary_key=True), sa.Column("why", text, nullable=False))
