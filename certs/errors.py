"""What can be wrong with certificates brought to or found in a PKI folder."""

from __future__ import annotations


class BadPki(Exception):  # noqa: N818 -- the name is the outcome
    """A folder, certificate or key that cannot be used; the text names the file and what to do. Never holds a key."""
