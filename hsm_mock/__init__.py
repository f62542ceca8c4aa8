"""A key vault in one encrypted file: for development, tests and rehearsals, never for production keys."""

from hsm_mock.key_file import BadVaultFile, WrongPassphrase
from hsm_mock.vault import MockVault

__all__ = ["BadVaultFile", "MockVault", "WrongPassphrase"]
