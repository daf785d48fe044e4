"""`bloomswarm report`: one file for a bug report. Versions, manifest, logs, the last events; no key, no address."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click

from peers.telling.redaction import redact

PACKAGES = ("bloomswarm", "torch", "hivemind", "transformers", "numpy", "bitsandbytes", "libp2p", "pydantic")
TAIL_BYTES = 200_000


@click.command("report", epilog="Example: bloomswarm report --dir my-peer --to report.txt")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
@click.option("--to", type=click.Path(path_type=Path), help="The file to write  [bloomswarm-report-<time>.txt]")
def command(folder: Path | None, to: Path | None) -> None:
    """Write one redacted file that says what led up to a problem. Read it before you send it."""
    from peers.commands.status import folders

    target = to or Path(f"bloomswarm-report-{time.strftime('%Y%m%d-%H%M%S')}.txt")
    target.write_text("".join(report(folders(folder))), encoding="utf-8")
    click.echo(f"{target}: read it before you send it; keys and addresses have been taken out")


def report(peers: list[Path]) -> Iterator[str]:
    yield f"# bloomswarm report, {time.strftime('%Y-%m-%d %H:%M:%S %z')}\n\n"
    yield f"{platform.platform()}, Python {sys.version.split()[0]}\n"
    yield "".join(f"{name} {version_of(name)}\n" for name in PACKAGES)
    for number, folder in enumerate(peers, 1):
        yield f"\n# peer {number}\n"
        yield from peer_report(folder)


def peer_report(folder: Path) -> Iterator[str]:
    """manifest without its signature, the last events, the ends of the logs."""
    manifest = folder / "manifest.json"
    if manifest.is_file():
        yield "\n## manifest.json\n" + redact(json.dumps(manifest_of(manifest), indent=1, sort_keys=True)) + "\n"
    for path in [folder / "events.jsonl", *sorted(folder.glob("*.log"))]:
        if path.is_file():
            yield f"\n## {path.name}\n" + redact(tail(path)) + "\n"


def manifest_of(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["manifest"]
    except (ValueError, KeyError, TypeError) as error:
        return f"not readable: {type(error).__name__}"


def tail(path: Path) -> str:
    """The last TAIL_BYTES of a file, from a line's beginning; of the events, the last 200."""
    from peers.telling.events import KEPT

    data = path.read_bytes()
    text = data[-TAIL_BYTES:].decode("utf-8", "replace")
    lines = text.splitlines()[1 if len(data) > TAIL_BYTES else 0 :]
    return "\n".join(lines[-KEPT:] if path.name == "events.jsonl" else lines)


def version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"
