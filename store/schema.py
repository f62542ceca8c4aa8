"""The whole schema: whoever compares or makes it imports `metadata` from here, so that no table is missed."""

from store import eim_tables, foreign_tables, swap_tables, tenancy_tables
from store.tables import metadata

__all__ = ["eim_tables", "foreign_tables", "metadata", "swap_tables", "tenancy_tables"]
