"""`bloomswarm doctor [LINK]`: everything checked before anything is joined, a verdict, the fix for each problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peers.commands.taking_part import MBIT
from peers.folders import home, run_folder
from swarm.errors import IdentityError, ResourceError, UnfitError
from swarm.run.sizing import show_seconds

if TYPE_CHECKING:
    from peers.checks.finding import Check, Finding
    from swarm.network.host import Network
    from swarm.run.link import Link
    from swarm.run.manifest import Manifest, SignedManifest
    from swarm.settings import Settings
    from swarm.trust.identity import Identity

SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
Say = Callable[[str], None]


@click.command("doctor", epilog="Examples:\n\n  bloomswarm doctor\n\n  bloomswarm doctor 'bloomswarm:...' --json")
@click.argument("link", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the peer would live  [~/.bloomswarm]")
@click.option("--device", help="As of `join`.")
@click.option("--listen", multiple=True, help="As of `join`: where others would dial this machine.")
@click.option("--announce", multiple=True, help="As of `join`.")
@click.option("--client", is_flag=True, default=None, help="As of `join`: accept no connections.")
@click.option("--upload", "upload_mbit", type=MBIT, help="As of `join`, Mbit/s.")
@click.option("--download", "download_mbit", type=MBIT, help="As of `join`, Mbit/s.")
def command(link: str | None, as_json: bool, folder: Path | None, **flags: Any) -> None:
    """Check this machine, and with LINK the run and the way to it. Nothing is joined, nothing is changed.

    Exit code 0: you can join. 12: something must be fixed first; each problem comes with the fix to type.
    """
    from peers.checks.finding import worst
    from peers.commands.terminal import passing
    from swarm.run.link import parse
    from swarm.settings import load_settings

    parsed = parse(link) if link is not None else None
    lists = {name: flags.pop(name) or None for name in ("listen", "announce")}
    settings = load_settings(None, **flags, **lists)
    found: list[Finding] = []
    with passing() as say:
        for finding in examine(parsed, settings, folder, say):
            found.append(finding)
            if not as_json:
                say("")
                click.echo(show(finding))
    verdict, words = worst(found), sentence(found, parsed is not None)
    if as_json:
        told = {"verdict": verdict, "words": words, "findings": [finding.to_dict() for finding in found]}
        click.echo(json.dumps(told, sort_keys=True))
    if verdict == "fail":
        raise UnfitError(words)
    if not as_json:
        click.echo(words)


def examine(link: Link | None, settings: Settings, folder: Path | None, say: Say) -> Iterator[Finding]:
    """One finding after the other, the quick ones first."""
    from peers.checks.machine import Device, Disk, Memory, OpenFiles
    from peers.checks.software import Packages, PythonVersion, Shadows

    checks: list[Check] = [PythonVersion(), Packages(), Shadows(), OpenFiles(), Device(settings.device)]
    if link is None:
        checks += [Memory(), Disk(folder or home())]
    for check in checks:
        say(f"Looking at: {check.name} ...")
        yield check.look()
    if link is not None:
        yield from visit(link, settings, folder, say)


def visit(link: Link, settings: Settings, folder: Path | None, say: Say) -> Iterator[Finding]:
    """As a guest in the run: what stands in the way ends the visit. folder: where the peer would live, if said."""
    from peers.checks.finding import fail
    from peers.checks.run import Seeds, Terms
    from swarm.trust.identity import Identity

    try:
        with guest(link, settings, Identity.generate(), say) as network:
            say("Dialling the seeds ...")
            seeds, terms = Seeds(network, link).look(), Terms(network, link)
            yield seeds
            if seeds.verdict == "fail":
                return
            yield terms.look()
            if terms.signed is not None and terms.signed.manifest.join.policy == "open":
                yield from inside(network, link, terms.signed.manifest, settings, folder, say)
        if terms.signed is not None and terms.signed.manifest.join.policy == "invited":
            yield from let_in(link, terms.signed, settings, folder, say)
    except ResourceError as error:
        yield fail("network", str(error), "choose another port: --listen /ip4/0.0.0.0/tcp/0")


@contextmanager
def guest(link: Link, settings: Settings, identity: Identity, say: Say) -> Iterator[Network]:
    from swarm.network.caps import Caps
    from swarm.network.host import Network

    say("Starting the network daemon ...")
    network = Network(
        identity,
        link.digest,
        listen=settings.listen,
        announce=settings.announce,
        client=settings.client,
        caps=Caps(settings.upload_mbit, settings.download_mbit),
    )
    try:
        yield network.start()
    finally:
        network.close()


def let_in(link: Link, signed: SignedManifest, settings: Settings, folder: Path | None, say: Say) -> Iterator[Finding]:
    """Of a run that is not open: with the key of the peer's folder, since only who is invited is answered there."""
    from peers.checks.finding import warn
    from peers.checks.run import Invited
    from peers.owner.guest_book import GuestBook
    from peers.owner.membership import guarded
    from swarm.trust.identity import Identity

    place = folder or run_folder(link.digest)
    path = place / "identity.pem"
    with ExitStack() as stack:
        identity = Identity.load(path) if path.exists() else None
        try:
            stack.enter_context(identity.lock() if identity is not None else nullcontext())
        except IdentityError as error:
            yield warn("invitation", f"not asked: {error}".partition("; ")[0], f"bloomswarm status --dir {place}")
            return
        network = stack.enter_context(guest(link, settings, identity or Identity.generate(), say))
        network.meet(link.peers)
        guarded(network, signed)
        invited = Invited(network, signed, link, GuestBook(place, signed), key=identity is not None).look()
        yield invited
        if invited.verdict != "fail":
            yield from inside(network, link, signed.manifest, settings, folder, say)


def inside(
    network: Network, link: Link, manifest: Manifest, settings: Settings, folder: Path | None, say: Say
) -> Iterator[Finding]:
    from peers.checks.machine import Disk, Memory
    from peers.checks.pace import Pace, apply_seconds
    from peers.checks.prospects import disk_needed, memory_needed, prospects
    from peers.checks.run import Clock, Course, Line, Reachable
    from peers.finding.visit import heard, others, ways_to
    from peers.training.device import device_kind

    records = heard(network)
    course = Course(link, records, manifest.training.steps).look()
    yield course
    if course.verdict != "ok":
        return
    asked = others(network, link, records)
    ways = ways_to(network, asked, say)
    yield Clock(ways).look()
    yield Reachable(network, asked).look()
    plan = prospects(manifest, records, ways, apply_seconds=apply_seconds(manifest))
    yield Line(ways, plan).look()
    needed = memory_needed(manifest, device_kind(settings.device))
    memory = Memory(needed, what="a peer of this run").look()
    yield memory
    yield Disk(folder or home(), disk_needed(manifest), what="a peer of this run").look()
    if memory.verdict != "fail":
        say("Computing one micro-batch of the run's model ...")
        yield Pace(manifest, settings, plan.others_per_second).look()


def show(finding: Finding) -> str:
    line = f"{SIGNS[finding.verdict]}  {finding.name:11} {finding.words}"
    return line + (f"\n      {'':11} fix: {finding.fix}" if finding.fix else "")


def sentence(found: list[Finding], run: bool) -> str:
    """The verdict in one line."""
    failed = [finding for finding in found if finding.verdict == "fail"]
    if failed:
        things = f"{len(failed)} thing{'s' if len(failed) > 1 else ''} must be fixed first"
        told = "; ".join(f"{finding.name}: {finding.words}; {finding.fix}" for finding in failed)
        return f"you cannot join yet, {things} ({told})"
    if not run:
        return "This machine can take part in a run; name one to know more: bloomswarm doctor LINK"
    values = {finding.name: finding.values for finding in found}
    if "line" not in values:  # nothing to take part in, or a peer of this folder runs and is not disturbed
        return f"Nothing stands in the way; {found[-1].words}."
    kind = "full" if values["reachable"].get("full") else "client-mode"
    parts = [f"You will be a {kind} peer"]
    if (seconds := values["line"].get("exchange_seconds")) is not None:
        parts.append(f"about {show_seconds(seconds)} per exchange")
    if (share := values["compute"].get("share")) is not None:
        parts.append(f"about {100 * share:.0f} % of the swarm")
    return "; ".join(parts) + "."
