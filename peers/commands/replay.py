"""`bloomswarm replay`: recompute one contribution from the public plan and the committed state, and compare."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(
    "replay",
    epilog="Examples:\n\n  bloomswarm replay my-peer\n\n"
    "  bloomswarm replay my-peer --peer 12D3KooW... --step 40 --sent their-peer --json",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--peer", help="Whose: its peer id, or the end of it  [default: the one RUN belongs to]")
@click.option("--step", type=click.IntRange(0), help="Which  [default: the last that was kept]")
@click.option(
    "--sent", type=click.Path(path_type=Path), help="Folder of that peer, which keeps what it gave  [default: RUN]"
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's text is on this machine, if local.")
@click.option("--device", default="auto", show_default=True, help="To compute on.")
@click.option("--tolerance", type=click.FloatRange(0, 10), help="Relative error that is allowed  [default: 0.1]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    run: Path,
    peer: str | None,
    step: int | None,
    sent: Path | None,
    data: Path | None,
    device: str,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Compute again what a peer gave to a step, from RUN's checkpoint of that step and its log, and compare.

    RUN is a peer's folder (`join --dir`). Contributions are kept at the steps of checkpoints, the last few of them.
    Exit code 11 where what was given is not what the plan says.
    """
    from peers.commands.terminal import passing
    from peers.training.audit import Audit
    from swarm.settings import Settings

    with passing() as say:
        audit = Audit(run, sent or run, Settings(data=data, device=device), say)
        verdict = audit.verdict(peer, step, tolerance)
    words = f"{verdict.samples} samples at step {verdict.step}, by {verdict.peer}"
    figures = f"relative error {verdict.relative_error:.4f}, cosine {verdict.cosine:.5f}"
    if as_json:
        click.echo(json.dumps(verdict.to_dict(), sort_keys=True))
    else:
        click.echo(f"{'The same' if verdict.same else 'NOT the same'}: {words}: {figures}.")
    if not verdict.same:
        from swarm.errors import RunFailedError

        raise RunFailedError(
            f"{verdict.peer} did not give what the plan says: {figures}, at most {verdict.tolerance} is allowed; "
            "other text, other parameters, or a machine that computes wrongly"
        )
