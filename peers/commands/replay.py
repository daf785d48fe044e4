"""`bloomswarm replay`: recompute one contribution from the public plan and the committed state, and compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from swarm.state.replay import Verdict

Say = Callable[[str], None]


@click.command(
    "replay",
    epilog="Examples:\n\n  bloomswarm replay my-peer\n\n"
    "  bloomswarm replay my-peer --peer 12D3KooW... --step 40 --sent their-peer --json\n\n"
    "  bloomswarm replay 'bloomswarm:...' --peer 12D3KooW...",
)
@click.argument("run", metavar="RUN|LINK")
@click.option("--peer", help="Whose: its peer id, or the end of it  [default: the one RUN belongs to]")
@click.option("--step", type=click.IntRange(0), help="Which  [default: the last that was kept]")
@click.option(
    "--sent", type=click.Path(path_type=Path), help="Folder of that peer, which keeps what it gave  [default: RUN]"
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="With LINK: keep what was fetched here.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's text is on this machine, if local.")
@click.option("--device", default="auto", show_default=True, help="To compute on.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="In mode local: computed again, at most  [default: 8]")
@click.option("--tolerance", type=click.FloatRange(0, 10), help="Relative error that is allowed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    run: str, peer: str | None, step: int | None, sent: Path | None, folder: Path | None, as_json: bool, **more: Any
) -> None:
    """Compute again what a peer gave to a step, and compare.

    RUN is a peer's folder (`join --dir`), with its checkpoints and its log. With LINK all is fetched from the swarm and
    checked there: what --peer gave, which it keeps for the last few steps of checkpoints, from itself. Exit code 11
    where what was given is not what the plan says.
    """
    from peers.commands.terminal import passing

    with ExitStack() as stack:
        say = stack.enter_context(passing())
        if run.startswith("bloomswarm:"):
            place = folder or Path(stack.enter_context(TemporaryDirectory(prefix="bloomswarm-")))
            peer, step = fetched(run, peer, step, place, say)
            sent = place
        else:
            place = Path(run)
        verdict = verdict_of(place, sent or place, peer, step, say=say, **more)
    show(verdict, as_json)


def fetched(text: str, peer: str | None, step: int | None, folder: Path, say: Say) -> tuple[str, int]:
    """Everything from the swarm, into `folder`."""
    from peers.finding.inquiry import inquire
    from swarm.errors import ConfigError
    from swarm.run.link import parse

    if peer is None:
        raise ConfigError("with a link, --peer says whose contribution is computed again; `status LINK` names them")
    return inquire(parse(text), peer, step, folder, say)


def verdict_of(
    run: Path,
    sent: Path,
    peer: str | None,
    step: int | None,
    *,
    data: Path | None,
    device: str,
    rounds: int | None,
    tolerance: float | None,
    say: Say,
) -> Verdict:
    from peers.training.audit import Audit
    from peers.training.rerun import MOST_ROUNDS
    from swarm.settings import Settings

    audit = Audit(run, sent, Settings(data=data, device=device), say)
    return audit.verdict(peer, step, tolerance, rounds=rounds or MOST_ROUNDS)


def show(verdict: Verdict, as_json: bool) -> None:
    """The figures; RunFailedError where they are outside the tolerance."""
    words = f"{verdict.samples} samples at step {verdict.step}, by {verdict.peer}"
    figures = f"relative error {verdict.relative_error:.4f}, cosine {verdict.cosine:.5f}"
    if verdict.inner_steps:
        known = "which began with" if verdict.tolerance is not None else "as if they had begun with"
        figures += f" ({verdict.inner_steps} inner steps of {verdict.rounds} rounds, {known} empty moments)"
    if as_json:
        click.echo(json.dumps(verdict.to_dict(), sort_keys=True))
    else:
        click.echo(f"{'The same' if verdict.same else 'NOT the same'}: {words}: {figures}.")
    if not verdict.same:
        from swarm.errors import RunFailedError

        raise RunFailedError(
            f"{verdict.peer} did not give what the plan says: {figures}, {verdict.allowed()}; "
            "other text, other parameters, or a machine that computes wrongly"
        )
