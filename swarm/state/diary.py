"""What a peer in mode "local" did between its own optimizer's start and a contribution: enough to do it again.

How many inner steps a peer takes before a round, and how many while it is under way, depends on its speed; what they
compute follows from that, the plan and the committed states alone. The diary is the peer's own word. What it may say is
bounded by what the peer has signed: the samples of each round must come out of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from swarm.errors import RunFailedError

MOST_TURNS = 64


class Turn(NamedTuple):
    """Inner steps behind a cut for the round of `step`: during the round before, and after its outcome."""

    step: int
    ahead: int
    own: int

    @property
    def steps(self) -> int:
        return self.ahead + self.own


class Told(NamedTuple):
    """What a log says of one peer and round: the samples it has signed, and whether they were averaged."""

    samples: int
    included: bool


@dataclass(frozen=True)
class Diary:
    """whole: the turns are all since the inner moments were empty and the parameters were the anchor's."""

    whole: bool
    turns: tuple[Turn, ...]

    def to_json(self) -> dict[str, Any]:
        return {"whole": self.whole, "turns": [list(turn) for turn in self.turns]}

    @staticmethod
    def of_json(value: Any) -> Diary:
        """ValueError, TypeError, KeyError for what no diary wrote."""
        turns = tuple(Turn(*turn) for turn in value["turns"])
        numbers = all(type(number) is int and number in range(2**31) for turn in turns for number in turn)
        in_order = all(turn.step <= later.step for turn, later in pairwise(turns))
        if not numbers or not in_order or len(turns) > MOST_TURNS or type(value["whole"]) is not bool:
            raise ValueError("not a diary")
        return Diary(value["whole"], turns)


class Diarist:
    """Writes one, a turn at each cut."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque(maxlen=MOST_TURNS)
        self._whole = True

    def note(self, turn: Turn) -> None:
        self._whole = self._whole and len(self._turns) < MOST_TURNS
        self._turns.append(turn)

    def forget(self) -> None:
        """Everything begins anew, with empty moments at the anchor."""
        self._turns.clear()
        self._whole = True

    def diary(self) -> Diary:
        return Diary(self._whole, tuple(self._turns))


def require_signed_samples(
    turns: Sequence[Turn], told: Mapping[int, Told], inner_batch: int, *, from_start: bool, who: str
) -> None:
    """RunFailedError where these turns do not give the samples that the peer has signed, round by round.

    from_start: the first turn is the first of all. Else what it still owed is not known, and it counts as told.
    """
    held = 0
    for index, turn in enumerate(turns):
        again = index + 1 < len(turns) and turns[index + 1].step == turn.step  # that round came to nothing
        round_ = None if again else told.get(turn.step)
        held += turn.steps * inner_batch
        if index == 0 and not from_start:
            held = round_.samples if round_ is not None else held
        if round_ is None:
            continue
        if round_.samples != held:
            raise RunFailedError(
                f"{who} has signed {round_.samples} samples for step {turn.step}, by what it kept it had {held}: "
                "what it kept is not what it did"
            )
        held = 0 if round_.included else held
