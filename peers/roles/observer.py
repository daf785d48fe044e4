"""What `monitor` does: look at the directory, feed the picture, keep it on disk, and get in again when all is lost."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.api import Watch, api_routes
from monitoring.monitor_exporter import MonitorExporter
from monitoring.outside import Outside
from monitoring.server import Server
from monitoring.view.facts import facts_of
from peers.finding.acquaintances import Acquaintances
from peers.finding.arrival import ask_for_manifest
from peers.owner.membership import guarded
from peers.owner.watched import WatchedVersions
from peers.run_folder import MANIFEST, write_atomically
from peers.telling.progress import KIND, LIFETIME_SECONDS
from swarm import __version__
from swarm.errors import LinkError, NetworkError
from swarm.network.host import Network
from swarm.records import ProgressRecord, RecordError
from swarm.run.manifest import SignedManifest
from swarm.trust.identity import Identity

if TYPE_CHECKING:
    from peers.lifecycle import Leave
    from peers.telling.events import Events
    from swarm.run.link import Link

LOOK_SECONDS = 3.0
TELL_SECONDS = 10.0
SAVE_SECONDS = 15.0
ALONE_SECONDS = 45.0  # without a record of anybody else, after which it dials the seeds again
RETRY_SECONDS = (2.0, 5.0, 10.0, 20.0)
PICTURE = "picture.json"
LEAN_DAEMON = {"GOGC": "30", "GOMEMLIMIT": "32MiB"}  # of Go's runtime: 63 MB and not 89 with 1,000 peers' records


class Observer:
    def __init__(self, link: Link, folder: Path, events: Events, leave: Leave) -> None:
        self.link, self.folder, self.events, self.leave = link, folder, events, leave
        self.identity = Identity.load_or_create(folder / "identity.pem")
        self.acquaintances = Acquaintances(folder / "peers.json")
        events.about(run=link.digest[:16], step=0, round=0)
        self.told = self.saved = self.met = 0.0  # monotonic

    def run(self, port: int, host: str, *, probe: bool, private: bool) -> None:
        """Until told to leave. NetworkError where no peer answers and the run was never seen from here."""
        for name, value in LEAN_DAEMON.items():
            os.environ.setdefault(name, value)
        with ExitStack() as stack:
            stack.enter_context(self.identity.lock())
            network = self._network()
            signed = self._known_manifest()
            known = signed is not None
            if signed is None:
                network.start()
                stack.callback(network.close)
                signed = ask_for_manifest(network, self.link)
                write_atomically(self.folder / MANIFEST, signed.to_json())
            self.signed = signed
            self.watch = Watch(facts_of(signed, str(self.link)))
            self.versions = WatchedVersions(self.folder, signed.manifest, self.watch)
            self._restore()
            self.exporter = MonitorExporter(self.watch)
            self.outside = Outside(self.exporter, self.watch, private) if probe else None
            if self.outside is not None:
                stack.enter_context(self.outside)
            server = Server({**api_routes(self.watch), **self.exporter.routes()}, port, host)
            server.start()
            stack.callback(server.close)
            self.events("monitor", f"Watching {signed.manifest.name}: {server.url}", url=server.url, port=server.port)
            stack.callback(self._save)
            self._watch_for_ever(network, started=not known)
        self.events("left", "The monitor has left; the swarm does not depend on it.")

    # --- getting in -------------------------------------------------------------------------------------------------

    def _network(self) -> Network:
        """By the link's doors, and by the peers met before: seeds may be gone, or be somewhere else now."""
        doors = dict.fromkeys([*self.link.peers, *self.acquaintances.addresses()])
        return Network(self.identity, self.link.digest, initial_peers=tuple(doors), client=True)

    def _known_manifest(self) -> SignedManifest | None:
        path = self.folder / MANIFEST
        if not path.is_file():
            return None
        signed = SignedManifest.from_json(path.read_bytes(), str(path))
        if signed.digest != self.link.digest:
            raise LinkError(f"{self.folder} watches the run {signed.digest[:16]}, not the link's; use another --dir")
        return signed

    def _watch_for_ever(self, network: Network, started: bool) -> None:
        """One network after another: a swarm whose peers all went may come back on other connections."""
        attempt = 0
        while not self.leave:
            try:
                if not started:
                    network.start()
                guarded(network, self.signed)
                attempt, self.met = 0, time.monotonic()
                self._look_on(network)
            except NetworkError as error:
                self.watch.unanswered()
                self.exporter.refreshed(False, 0.0)
                if attempt == 0:
                    self.events("alone", f"Nobody answers: {error}")
                self.leave.event.wait(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
            finally:
                network.close()
            network, started = self._network(), False

    # --- looking ----------------------------------------------------------------------------------------------------

    def _look_on(self, network: Network) -> None:
        """Look again and again until told to leave or left alone."""
        while not self.leave:
            began = time.monotonic()
            others = self._look(network)
            now = time.monotonic()
            self.exporter.refreshed(True, now - began)
            self.met = now if others else self.met
            if self.outside is not None:
                self.outside.turn()
            if now - self.saved > SAVE_SECONDS:
                self._save()
            if now - self.met > ALONE_SECONDS:
                return
            self.leave.event.wait(max(0.1, LOOK_SECONDS - (now - began)))

    def _look(self, network: Network) -> int:
        """Read everybody's record, and tell ours now and then. How many others there are."""
        if time.monotonic() - self.told > TELL_SECONDS:
            record = ProgressRecord(step=0, state="serving", role="monitor", version=__version__, clock=time.time())
            network.publish(KIND, record.to_bytes(), LIFETIME_SECONDS)
            self.told = time.monotonic()
        records, unread = {}, set()
        for held in network.read(KIND):
            try:
                records[held.peer_id] = ProgressRecord.from_bytes(held.payload)
            except RecordError as error:
                network.reject(error.reason)
                unread.add(held.peer_id)
        if network.guard is not None:
            records = network.guard.admitted(records)
        if self.versions.look(network, records):
            self.exporter.amended()
            self.events("note", f"An amendment of the run counts now: {self.watch.view.facts.steps:,} steps.")
        self.watch.look(records, network.rejected(), frozenset(unread))
        self.acquaintances.remember(records, network.peer_id)
        self.events.about(step=self.watch.view.step, round=self.watch.view.step)
        return len(records.keys() - {network.peer_id})

    # --- remembering ------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self.saved = time.monotonic()
        picture = self.watch.read(lambda view, now, found: view.to_dict())
        write_atomically(self.folder / PICTURE, json.dumps(picture).encode())

    def _restore(self) -> None:
        path = self.folder / PICTURE
        if path.is_file():
            try:
                self.watch.view.restore(json.loads(path.read_bytes()))
            except (ValueError, KeyError, TypeError) as error:
                self.events("note", f"{path} is not readable and is begun anew: {type(error).__name__}")
