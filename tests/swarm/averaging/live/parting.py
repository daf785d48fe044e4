"""Links that do not work, between peers in processes of their own: both ends refuse to dial, and drop what is open.

Who is on which side stands in one file, which every process looks at; where there is none, all links are whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swarm.averaging.live.driver import Driver
from swarm.network.host import Network
from swarm.network.streams import PeerError


class Parting:
    def __init__(self, network: Network, driver: Driver, place: Path) -> None:
        self.network, self.driver, self.place = network, driver, place
        self.away: frozenset[str] = frozenset()  # whom this peer does not reach
        streams = network.streams
        dial = streams.open

        async def open_(peer_id: str, *args: Any, **options: Any) -> Any:
            if peer_id in self.away:
                raise PeerError(peer_id, "unreachable", "parted by the test")
            return await dial(peer_id, *args, **options)

        streams.open = open_  # type: ignore[method-assign]

    def look(self) -> None:
        """Follow the file."""
        try:
            sides = [set(side) for side in json.loads(self.place.read_text())]
        except FileNotFoundError:
            sides = []
        away = frozenset(peer for side in sides if self.network.peer_id not in side for peer in side)
        if away != self.away:
            self.away = away
            self.driver.loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        for lane in list(self.driver.links.lanes.values()):
            if lane.peer in self.away:
                lane.abort()
                self.driver.links.lost(lane.peer)


def part(place: Path, *sides: list[str]) -> None:
    """No sides: whole again."""
    if not sides:
        place.unlink()
        return
    making = place.with_suffix(".making")
    making.write_text(json.dumps(sides))
    making.replace(place)
