"""`bloomswarm identity`: the keys that this machine signs with, one for each run joined, and their way to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from peers.commands.passphrase import passphrase_from
from peers.folders import home, run_folder
from swarm.errors import ConfigError, IdentityError

FILE, OWNER = "identity.pem", "owner.pem"
DIR = click.Path(path_type=Path)
PASSPHRASE = click.option(
    "--passphrase-file", type=DIR, help="Its first line is the passphrase  [default: asked for, not shown]"
)


@click.group("identity")
def command() -> None:
    """The Ed25519 key that is this peer's name in a run: whoever has it keeps the name and its history."""


@command.command("show", epilog="Example: bloomswarm identity show --json")
@click.option("--dir", "folder", type=DIR, help="A peer's or run's folder  [default: all under ~/.bloomswarm]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(folder: Path | None, as_json: bool) -> None:
    """Print peer ids and their friendly names; never a secret key."""
    if folder is not None:
        values = described(key_in(folder))
        lines = [f"{key:8} {value}" for key, value in values.items()]
    else:
        values = {"identities": [described_or_not(path) for path in identities()]}
        lines = [line_of(each) for each in values["identities"]]
    click.echo(json.dumps(values, sort_keys=True) if as_json else "\n".join(lines))


@command.command("export", epilog="Example: bloomswarm identity export --to my-key.pem --dir my-peer")
@click.option("--to", "target", type=DIR, required=True, help="The new file; it is encrypted and only yours to read.")
@click.option("--dir", "folder", type=DIR, help="A peer's or run's folder  [default: the only one in ~/.bloomswarm]")
@PASSPHRASE
def export(target: Path, folder: Path | None, passphrase_file: Path | None) -> None:
    """Write the key, encrypted by a passphrase, to a file that can be kept or carried to another machine."""
    from swarm.trust.identity import Identity

    identity = Identity.load(key_in(folder) if folder is not None else only(identities()))
    if target.exists():
        raise IdentityError(f"{target} exists and is not overwritten; choose another --to")
    identity.export_to(target, passphrase_from(passphrase_file, new=True))
    click.echo(
        f"{target}: the key of {identity.name} ({identity.peer_id}), encrypted; without the passphrase it is lost"
    )


@command.command("import", epilog="Example: bloomswarm identity import my-key.pem --dir my-peer")
@click.argument("file", type=DIR)
@click.option("--dir", "folder", type=DIR, help="The folder of the peer that shall have this key.")
@click.option("--link", help="Instead of --dir: the link of the run that this machine shall join with it.")
@PASSPHRASE
def import_(file: Path, folder: Path | None, link: str | None, passphrase_file: Path | None) -> None:
    """Take up an exported key; never in place of one that is there. Do not run two peers with it at once."""
    from swarm.run.link import parse
    from swarm.trust.identity import Identity

    if (folder is None) == (link is None):
        raise ConfigError("who shall have the key? Name the peer's folder with --dir, or its run with --link")
    place = folder if folder is not None else run_folder(parse(str(link)).digest)
    if (place / FILE).exists():
        raise IdentityError(f"{place / FILE}: a key is there already and is never overwritten; move it away first")
    identity = Identity.import_from(file, passphrase_from(passphrase_file, new=False)).save(place / FILE)
    click.echo(f"{place / FILE}: this peer is now {identity.name} ({identity.peer_id})")


def key_in(folder: Path) -> Path:
    """A peer's own key; in a run's folder its owner's."""
    return folder / (OWNER if not (folder / FILE).exists() and (folder / OWNER).exists() else FILE)


def identities() -> list[Path]:
    """The key files of the runs joined by this user. IdentityError where there is none."""
    found = sorted((home() / "runs").glob(f"*/{FILE}"))
    if not found:
        raise IdentityError(f"no key under {home()}: `bloomswarm join` makes one for each run; or name a --dir")
    return found


def only(paths: list[Path]) -> Path:
    if len(paths) > 1:
        raise ConfigError(f"this machine has {len(paths)} keys; name one with --dir: {', '.join(map(str, paths))}")
    return paths[0]


def described(path: Path) -> dict[str, Any]:
    from swarm.trust.identity import Identity

    identity = Identity.load(path)
    return {"peer_id": identity.peer_id, "name": identity.name, "file": str(path)}


def described_or_not(path: Path) -> dict[str, Any]:
    """One key that cannot be used must not hide the others."""
    try:
        return described(path)
    except IdentityError as error:
        return {"file": str(path), "problem": str(error)}


def line_of(identity: dict[str, Any]) -> str:
    if "problem" in identity:
        return str(identity["problem"])
    return f"{identity['name']:24} {identity['peer_id']}  {identity['file']}"
