"""A delivery with data that a run could not hold stays for as long as the run may be carried out."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

ID = sa.String(length=40)
NAME = sa.String(length=200)


def upgrade() -> None:
    needs = op.create_table(
        "delivery_needs",
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "run_id", name=op.f("pk_delivery_needs")),
        sqlite_with_rowid=False,
    )
    refer = op.get_bind().execute(
        sa.text(
            "SELECT r.run_id, r.tenant_id, r.input_json FROM dispatches d JOIN runs r ON r.run_id = d.run_id"
            """ WHERE r.input_json LIKE '%"dataref":"dlv_%'"""
        )
    )
    found = [
        {"delivery_id": ref, "run_id": row.run_id, "tenant_id": row.tenant_id}
        for row in refer
        if (ref := _reference(row.input_json)) is not None
    ]
    if found:
        op.bulk_insert(needs, found)


def _reference(text: str) -> str | None:
    said = json.loads(text)
    signal = said.get("signal") if isinstance(said, dict) else None
    ref = signal.get("dataref") if isinstance(signal, dict) else None
    return ref if isinstance(ref, str) and len(ref) <= 40 else None
