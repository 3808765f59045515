"""The tables, and nothing else. JSON columns hold what is only ever read whole."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String),
    Column("created", Float, nullable=False),
    Column("status", String, nullable=False),
    Column("seconds", Float, nullable=False, default=0.0),  # work time so far, over all starts
    Column("asked", JSON, nullable=False),  # by kind, see spec/study.py
    Column("facts", JSON, nullable=False, default=dict),  # the same
)

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("study", String, index=True),
    Column("created", Float, nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("status", String, nullable=False),
    Column("reason", Text),
    Column("cohort", String),
    Column("total_steps", Integer),
    Column("result", JSON, nullable=False, default=dict),  # best_step, best_loss, size, seconds, task numbers
)

# A run belongs to every study that asked for it; runs.study names the first.
study_runs = Table(
    "study_runs",
    metadata,
    Column("study", String, primary_key=True),
    Column("run", String, primary_key=True),
)

steps = Table(
    "steps",
    metadata,
    Column("run", String, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("loss", Float),
    Column("learning_rate", Float),
    Column("grad_norm", Float),
    Column("size", Integer),  # passed so far, in the task's unit (tokens)
    Column("seconds", Float),
)

# Whose gradients an update was made of: its examples with their loss, and how far they agreed.
updates = Table(
    "updates",
    metadata,
    Column("run", String, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("gradient_shares", JSON, nullable=False),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("run", String, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("share", Float, nullable=False),  # of the run's steps
    Column("loss", Float, nullable=False),
    Column("items", JSON, nullable=False),  # loss of each validation example, in order
    Column("pulse", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("study", String, index=True),
    Column("run", String, index=True),
    Column("step", Integer),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("run", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("predicted", JSON, nullable=False),  # allocated, reserved, seconds a step, terms, versions, device
    Column("measured", JSON, nullable=False, default=dict),  # the same, as far as they can be measured there
)

cards = Table(
    "cards",
    metadata,
    Column("run", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("measured", JSON, nullable=False),  # raw numbers per item, base and tuned
    Column("judged", JSON, nullable=False),  # rows with intervals and verdicts
)

samples = Table(
    "samples",
    metadata,
    Column("run", String, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("probe", String, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("reference", Text),
    Column("base", Text, nullable=False),
    Column("tuned", Text, nullable=False),
)

# Blind votes: the pairs of a review with their sides, drawn and stored before anything is shown.
reviews = Table(
    "reviews",
    metadata,
    Column("review", String, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("names", JSON, nullable=False),  # what is behind first and second
    Column("probe", String, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("reference", Text),
    Column("first", Text, nullable=False),
    Column("second", Text, nullable=False),
    Column("swapped", Boolean, nullable=False),  # second is shown on the left
    Column("vote", String),  # first, second, tie; null: not yet
)

# What people said of single answers, to correct a detector with.
labels = Table(
    "labels",
    metadata,
    Column("run", String, primary_key=True),
    Column("probe", String, primary_key=True),
    Column("place", Integer, primary_key=True),  # of the prompt in its probe
    Column("side", String, primary_key=True),  # base or tuned
    Column("label", Float, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", String, nullable=False),
    Column("place", String, nullable=False),  # the question this answers; asked once per study
    Column("sentence", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    UniqueConstraint("study", "place"),
)

# Cohorts that somebody is to train: written by a tuner, claimed by workers; still there after a restart.
jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("study", String, index=True),
    Column("created", Float, nullable=False),
    Column("cohort", String, nullable=False),
    Column("runs", JSON, nullable=False),
    Column("asked", JSON, nullable=False),  # what a worker needs to know besides the recipes
    Column("status", String, nullable=False),
    Column("owner", String),
    Column("beat", Float),  # when its owner was last heard of
    Column("attempts", Integer, nullable=False, default=0),
    Column("reason", Text),
)

# Runs that are to stop as soon as whoever trains them looks.
stops = Table(
    "stops",
    metadata,
    Column("run", String, primary_key=True),
    Column("why", Text, nullable=False),
)

Index("events_by_run", events.c.run, events.c.step)
