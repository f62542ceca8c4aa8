"""Alembic's environment and the migrations, run in process by `store.migrate`."""
