"""Sends what the outbox holds: operators' callbacks, in order, until they arrive."""
