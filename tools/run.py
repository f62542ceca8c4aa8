"""`make run`: the server on this machine; makes a vault passphrase and test certificates where there are none."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

from server import settings


def main() -> None:
    """Run `smdp serve` with the arguments given."""
    loaded = settings.load()
    child = settings.environment(loaded)
    if not loaded.vault_passphrase:
        passphrase = loaded.data_dir / "passphrase"
        if not passphrase.exists():
            loaded.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
        child = settings.environment(settings.load(vault_passphrase_file=passphrase))
        print(f"for other commands: export SMDP_FLEX_VAULT_PASSPHRASE_FILE={passphrase}", flush=True)
    smdp = [sys.executable, "-m", "server"]
    if not (loaded.pki_dir / "pki.json").exists():
        subprocess.run([*smdp, "pki", "init"], env=child, check=True)  # noqa: S603 -- our own command
    os.execve(sys.executable, [*smdp, "serve", *sys.argv[1:]], child)  # noqa: S606 -- our own command


if __name__ == "__main__":
    main()
