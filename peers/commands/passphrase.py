"""A passphrase, asked for without showing it, or from a file; never from the command line, which others can see."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from swarm.errors import ConfigError, IdentityError

MAX_BYTES = 4096


def passphrase_from(path: Path | None, *, new: bool) -> str:
    """The first line of `path`, or what is typed; a new one is typed twice. IdentityError, ConfigError."""
    if path is not None:
        return _first_line(path)
    if not click.get_text_stream("stdin").isatty():
        raise ConfigError("nobody is here to type a passphrase (no terminal): put it into a file for --passphrase-file")
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new))


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise IdentityError(f"{path}: the passphrase cannot be read: {error.strerror}; check the path") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise IdentityError(f"{path}: mode {mode & 0o777:04o} lets others read the passphrase; run: chmod 600 {path}")
    line = data.split(b"\n", 1)[0].rstrip(b"\r")
    if not line or len(line) > MAX_BYTES:
        raise IdentityError(f"{path}: the first line has {len(line)} bytes; write the passphrase there, on one line")
    return line.decode("utf-8", "surrogateescape")
