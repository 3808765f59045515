"""The drift of a pulse (eight short prompts, sixteen tokens) is another number than the card's: kl_generic ->
kl_pulse, kl_first_token -> kl_pulse_first, in evaluations."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"
NAMES = (("kl_generic", "kl_pulse"), ("kl_first_token", "kl_pulse_first"))


def upgrade() -> None:
    text = "CAST(CAST({0} AS TEXT) AS JSON)" if op.get_bind().dialect.name == "postgresql" else "{0}"
    sql = "CAST(pulse AS TEXT)"
    for old, new in NAMES:
        sql = f"""REPLACE({sql}, '"{old}":', '"{new}":')"""
    op.execute(sa.text(f"UPDATE evaluations SET pulse = {text.format(sql)}".replace(":'", r"\:'")))
