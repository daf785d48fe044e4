"""`bloomswarm eval`: how well a checkpoint predicts held-out text, language by language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command(
    "eval",
    epilog="Examples:\n\n  bloomswarm eval demo/peer-1/checkpoints/step-00000040\n\n"
    "  bloomswarm eval CHECKPOINT --data my-text/ --against initial --json",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Text per language  [default: the starter corpus]")
@click.option("--against", help="Another checkpoint to compare with, or 'initial' for the untrained model.")
@click.option("--limit", type=click.IntRange(1), help="Documents per language  [default: all]")
@click.option("--samples", default=0, show_default=True, type=click.IntRange(0, 50), help="Sentences to write.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    checkpoint: Path, data: Path | None, against: str | None, limit: int | None, samples: int, as_json: bool
) -> None:
    """Loss and bits per byte of CHECKPOINT per language (bits per byte compare fairly between tokenizers)."""
    from peers.evaluation import Evaluation
    from peers.terminal import passing

    with passing() as say:
        evaluation = Evaluation(checkpoint, data=data, limit=limit, say=say)
        languages = evaluation.languages()
        if against is not None:
            other = evaluation.against(against)
            for language, row in languages.items():
                row["against"] = other[language]
        written = evaluation.sentences(samples)
    if as_json:
        click.echo(json.dumps({"languages": languages, "samples": written}, sort_keys=True, ensure_ascii=False))
    else:
        print_table(languages)
        for sentence in written:
            click.echo(f"[{sentence['language']}] {' '.join(sentence['text'].split())}")


def print_table(languages: dict[str, dict[str, Any]]) -> None:
    compared = any("against" in row for row in languages.values())
    head = "language    loss  bits/byte" + ("  against" if compared else "") + "  bytes/token      bytes"
    click.echo(head)
    for language, row in sorted(languages.items()):
        against = f"  {row['against']['bits_per_byte']:7.3f}" if compared else ""
        click.echo(
            f"{language:8} {row['loss']:7.3f}  {row['bits_per_byte']:9.3f}{against}"
            f"  {row['bytes_per_token']:11.2f}  {row['bytes']:9,}"
        )
