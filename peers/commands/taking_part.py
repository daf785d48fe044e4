"""What `join`, `assist` and `archive` have in common on the command line: a peer's settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from swarm.settings import Settings

JSON = click.option("--json", "as_json", is_flag=True, help="Events as JSON lines (--log-format json).")
FORMAT = click.option("--log-format", type=click.Choice(["plain", "json"]), help="[default: plain]")
MBIT = click.FloatRange(0, 1e6, min_open=True)
OPTIONS = (
    click.option("--yes", is_flag=True, help="Do not ask before joining."),
    click.option("--settings", type=click.Path(path_type=Path), help="A TOML file with any of these settings."),
    click.option("--listen", multiple=True, help="Multiaddress to listen on  [default: every interface, a free port]"),
    click.option("--announce", multiple=True, help="Multiaddress to tell others, if they cannot see the one above."),
    click.option(
        "--no-direct", "direct", flag_value=False, default=None, help="No second port for peers of this network."
    ),
    click.option("--upload", "upload_mbit", type=MBIT, help="Mbit/s, the most to send  [default: no cap]"),
    click.option("--download", "download_mbit", type=MBIT, help="Mbit/s, the most to receive  [default: no cap]"),
    click.option("--metrics-port", type=click.IntRange(0, 65_535), help="On loopback; 0: any free one  [default: 0]"),
    click.option("--no-metrics", is_flag=True, help="Serve no metrics."),
    JSON,
    FORMAT,
)


def taking_part(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command these options; `chosen` reads them."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def chosen(settings: Path | None, *, no_metrics: bool, as_json: bool, **flags: Any) -> Settings:
    """The settings of a file and of the command line, which wins. ConfigError."""
    from swarm.settings import load_settings

    for name in ("listen", "announce"):
        flags[name] = flags[name] or None
    flags["log_format"] = "json" if as_json else flags["log_format"]
    return load_settings(settings, metrics=False if no_metrics else None, **flags)
