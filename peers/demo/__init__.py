"""`bloomswarm demo`: a whole swarm on this machine, from real `create`, `seed`, `join` and `eval` processes.

Nothing here trains or averages: this process starts the commands that a person would type, follows what they say, and
sums it up. It imports no torch.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from swarm.errors import ConfigError


@click.command("demo", epilog="Example: bloomswarm demo --peers 2 --steps 10 --report report.json")
@click.option("--peers", default=4, show_default=True, type=click.IntRange(1, 32), help="How many peers train.")
@click.option("--steps", default=40, show_default=True, type=click.IntRange(1, 100_000), help="Global steps to train.")
@click.option("--data", type=click.Path(path_type=Path), help="Text to train on: a folder of <language>.jsonl files.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where everything goes  [default: demo/<time>]")
@click.option("--config", type=click.Path(path_type=Path), help="Another configuration than the small built-in one.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the report as JSON to this file, too.")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the report, as JSON.")
def command(
    peers: int,
    steps: int,
    data: Path | None,
    folder: Path | None,
    config: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Train a small multilingual model with a real swarm on this machine and show what came of it."""
    from peers.demo.conduct import Demo
    from peers.demo.summary import print_summary

    folder = folder or Path("demo") / time.strftime("%Y-%m-%d-%H%M%S")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder: choose another one with --dir")
    demo = Demo(folder=folder, peers=peers, steps=steps, data=data, config=config, quiet=as_json)
    result = demo.run()
    text = json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    if report is not None:
        report.write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(text)
    else:
        print_summary(result, folder)
    demo.verdict(result)
