"""Alembic's entry point: runs over the connection that `store.migrate` hands in, and never opens one itself."""

from __future__ import annotations

from alembic import context

from store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
