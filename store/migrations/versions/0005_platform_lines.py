"""The lines of callers at carriers' platforms."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_LINES = """
CREATE TABLE platform_lines (
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    line TEXT NOT NULL,
    CONSTRAINT pk_platform_lines PRIMARY KEY (credential)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(_LINES)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE platform_lines")
