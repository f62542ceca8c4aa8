"""Adapters to carriers' connectivity platforms, one file each behind one contract: see ADDING.md."""
