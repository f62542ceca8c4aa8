"""What every vault must do: a test class for each kind of vault inherits this and makes the vault."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from crypto import signatures
from crypto.curves import Curve
from crypto.vault import BadSeal, KeyUnknown, Vault

CONTEXT = b"orders.sealing_key/42"


class VaultContract:
    """Inherit, and define the fixture `vault`: it holds key pairs labelled `p256` and `brainpool`, and no other."""

    LABELS = (("p256", Curve.P256), ("brainpool", Curve.BRAINPOOL_P256R1))

    @pytest.mark.parametrize(("label", "curve"), LABELS)
    async def test_signature_verifies_under_the_public_key(self, vault: Vault, label: str, curve: Curve) -> None:
        public_key = await vault.public_key(label)
        assert Curve.of(public_key) is curve
        signatures.verify(public_key, await vault.sign(label, b"data"), b"data")

    async def test_signature_of_long_data_verifies(self, vault: Vault) -> None:
        data = bytes(100_000)
        signatures.verify(await vault.public_key("p256"), await vault.sign("p256", data), data)

    async def test_labels_are_sorted(self, vault: Vault) -> None:
        assert await vault.labels() == ("brainpool", "p256")

    async def test_unknown_label_is_named(self, vault: Vault) -> None:
        with pytest.raises(KeyUnknown, match="nobody"):
            await vault.sign("nobody", b"data")
        with pytest.raises(KeyUnknown, match="nobody"):
            await vault.public_key("nobody")

    @pytest.mark.parametrize("secret", [b"", b"s", bytes(32), bytes(5000)])
    async def test_wrapped_secret_comes_back(self, vault: Vault, secret: bytes) -> None:
        assert await vault.unwrap(await vault.wrap(secret, CONTEXT), CONTEXT) == secret

    async def test_wrapped_form_hides_the_secret_and_differs_each_time(self, vault: Vault) -> None:
        secret = b"a secret of many bytes"
        one, two = await vault.wrap(secret, CONTEXT), await vault.wrap(secret, CONTEXT)
        assert one != two
        assert secret not in one

    async def test_another_context_breaks_the_seal(self, vault: Vault) -> None:
        wrapped = await vault.wrap(b"secret", CONTEXT)
        with pytest.raises(BadSeal):
            await vault.unwrap(wrapped, b"orders.sealing_key/43")

    async def test_context_and_prefix_cannot_trade_bytes(self, vault: Vault) -> None:
        wrapped = await vault.wrap(b"secret", CONTEXT)
        with pytest.raises(BadSeal):
            await vault.unwrap(wrapped + CONTEXT[:1], CONTEXT[1:])

    async def test_any_altered_byte_breaks_the_seal(self, vault: Vault) -> None:
        wrapped = await vault.wrap(b"secret", CONTEXT)
        for position in range(len(wrapped)):
            altered = wrapped[:position] + bytes((wrapped[position] ^ 1,)) + wrapped[position + 1 :]
            with pytest.raises(BadSeal):
                await vault.unwrap(altered, CONTEXT)

    async def test_cut_wrapped_form_breaks_the_seal(self, vault: Vault) -> None:
        wrapped = await vault.wrap(b"secret", CONTEXT)
        for length in range(len(wrapped)):
            with pytest.raises(BadSeal):
                await vault.unwrap(wrapped[:length], CONTEXT)

    async def test_working_vault_passes_its_check(self, vault: Vault) -> None:
        await vault.check()

    async def test_public_key_is_only_public(self, vault: Vault) -> None:
        assert isinstance(await vault.public_key("p256"), ec.EllipticCurvePublicKey)
