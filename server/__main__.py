"""The command `smdp`: collects the verbs, and turns expected errors into one sentence on standard error."""

from __future__ import annotations

import sys

_INTERRUPTED = 130
"""What shells report for a command that Ctrl-C has ended: 128 and the number of SIGINT."""

# Loading these takes a moment, in which somebody may press Ctrl-C.
try:
    import importlib
    import importlib.metadata
    import importlib.util
    import traceback
    from typing import Annotated

    import typer
except KeyboardInterrupt:
    sys.exit(_INTERRUPTED)

VERBS = (
    "serve",
    "demo",
    "db",
    "pki",
    "eim",
    "operator",
    "profile",
    "order",
    "load",
    "carrier",
    "enterprise",
    "partnership",
    "key",
    "esim",
    "swap",
)

# Errors whose text is meant for the person at the keyboard. A class whose module nobody imported cannot have been
# raised, so they are looked up by name and a quick verb does not load what it does not use.
EXPECTED = (
    ("server.settings", "SettingsError"),
    ("rsp.errors", "Malformed"),
    ("rsp.errors", "Refused"),
    ("rsp.errors", "Unreachable"),
    ("rsp.errors", "Unavailable"),
    ("crypto.certificates", "BadCertificate"),
    ("crypto.certificates", "CertificateRejected"),
    ("crypto.vault", "VaultUnavailable"),
    ("crypto.vault", "KeyUnknown"),
    ("hsm_mock", "WrongPassphrase"),
    ("hsm_mock", "BadVaultFile"),
    ("certs.errors", "BadPki"),
    ("es2plus.client", "OrderRefused"),
    ("smdp.ports", "ProfileExists"),
    ("tenancy.operator", "OperatorExists"),
    ("tenancy.principal", "NotAllowed"),
    ("tenancy.principal", "BadTerms"),
    ("server.api_client", "ApiRefused"),
)


def application() -> typer.Typer:
    """The command with every verb whose module is there."""
    app = typer.Typer(
        name="smdp",
        help="An SM-DP+ (GSMA SGP.22) and eIM (SGP.32) with carrier-swap orchestration. Start with: smdp demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for verb in VERBS:
        _register(app, verb)
    return app


def _register(app: typer.Typer, verb: str) -> None:
    name = f"server.commands.{verb}"
    if importlib.util.find_spec(name) is None:
        return
    module = importlib.import_module(name)
    if hasattr(module, "app"):
        app.add_typer(module.app, name=verb)
    else:
        app.command(name=verb)(module.command)


def _print_version(*, value: bool) -> None:
    if value:
        typer.echo(f"smdp {importlib.metadata.version('smdp-flex')}")
        raise typer.Exit


def _global_options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _print_version(value=value),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in the program an error came from.")
    ] = False,
) -> None:
    """An SM-DP+ (GSMA SGP.22) and eIM (SGP.32) with carrier-swap orchestration."""


def is_expected(error: BaseException) -> bool:
    """Whether the text of this error is meant to be read by the person who gave the command."""
    classes = (getattr(sys.modules.get(module), name, None) for module, name in EXPECTED)
    return isinstance(error, (OSError, *(found for found in classes if isinstance(found, type))))


def sentence(error: BaseException) -> str:
    """What to print for an error. The text of an unexpected one is left out: nobody has checked it for secrets."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if is_expected(error):
        return str(error) or type(error).__name__
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}, line {frame.lineno}"
    return f"a fault in the program: {type(error).__name__} in {where} (smdp --traceback ... shows more)"


def main() -> None:
    """Run the command line; the entry point of `smdp`."""
    try:
        application()(prog_name="smdp")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 -- the one place where errors become words for people
        if "--traceback" in sys.argv[1:]:
            traceback.print_exc()
        sys.stderr.write(f"smdp: {sentence(error)}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
