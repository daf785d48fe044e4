"""`bloomswarm eval`: how well a checkpoint predicts held-out text, language by language, alone or beside another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from peers.folders import require_checkpoint

Rows = dict[str, dict[str, Any]]


@click.command(
    "eval",
    epilog="Examples:\n\n  bloomswarm eval demo/peer-1/checkpoints/step-00000040\n\n"
    "  bloomswarm eval CHECKPOINT EARLIER --samples 3\n\n"
    "  bloomswarm eval CHECKPOINT --data my-text/ --against initial --json",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("other", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Text per language  [default: the starter corpus]")
@click.option("--against", help="The same as OTHER; 'initial' for the untrained model.")
@click.option("--limit", type=click.IntRange(1), help="Documents per language  [default: all]")
@click.option("--samples", default=0, show_default=True, type=click.IntRange(0, 50), help="Texts to write.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; `export --evaluation` takes it.")
def command(
    checkpoint: Path,
    other: str | None,
    data: Path | None,
    against: str | None,
    limit: int | None,
    samples: int,
    as_json: bool,
) -> None:
    """Loss and bits per byte of CHECKPOINT per language, side by side with those of OTHER where one is named.

    Bits per byte compare fairly between tokenizers. Text: a folder of <language>.jsonl files, or one such file.
    """
    if other is not None and against is not None:
        raise click.UsageError(f"two models to compare with, {other} and --against {against}: name one")
    require_checkpoint(checkpoint)
    from peers.commands.scores import Evaluation
    from peers.commands.terminal import passing

    with passing() as say:
        evaluation = Evaluation(checkpoint, data=data, limit=limit, say=say)
        candidate = evaluation.candidate()
        result = {"checkpoint": candidate.facts, "text": evaluation.text, "languages": evaluation.scores(candidate)}
        result["samples"] = evaluation.sentences(candidate, samples)
        if (name := other or against) is not None:
            second = evaluation.other(name)
            result["against"] = second.facts
            for language, row in evaluation.scores(second).items():
                result["languages"][language]["against"] = row
            result["samples"] += evaluation.sentences(second, samples)
    if as_json:
        click.echo(json.dumps(result, sort_keys=True, ensure_ascii=False))
    else:
        print_table(result["languages"])
        print_samples(result["samples"])


def print_table(languages: Rows) -> None:
    """A line a language; compared, the difference of bits per byte too: below zero, CHECKPOINT is the better one."""
    compared = any("against" in row for row in languages.values())
    head = "language    loss  bits/byte" + ("  against  difference" if compared else "")
    click.echo(head + "  tokens/byte      bytes")
    for language, row in sorted(languages.items()):
        line = f"{language:8} {row['loss']:7.3f}  {row['bits_per_byte']:9.3f}"
        if compared:
            before = row["against"]["bits_per_byte"]
            line += f"  {before:7.3f}  {row['bits_per_byte'] - before:+10.3f}"
        click.echo(f"{line}  {row['tokens_per_byte']:11.3f}  {row['bytes']:9,}")
    if compared and len(languages) > 1:
        better = sum(row["bits_per_byte"] < row["against"]["bits_per_byte"] for row in languages.values())
        click.echo(f"CHECKPOINT is better in {better} of {len(languages)} languages.")


def print_samples(samples: list[dict[str, str]]) -> None:
    """What each model wrote after one prompt, one below the other."""
    together: dict[tuple[str, str], list[dict[str, str]]] = {}
    for sample in samples:
        together.setdefault((sample["language"], sample["prompt"]), []).append(sample)
    for (language, _), written in together.items():
        for sample in written:
            whose = f" {sample['checkpoint']}" if len(written) > 1 else ""
            click.echo(f"[{language}]{whose} {printable(sample['text'])}")


def printable(text: str) -> str:
    """On one line, and without what a terminal would take for a command: a young model writes any byte."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in text).split())
