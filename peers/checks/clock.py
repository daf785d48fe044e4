"""Is this machine's clock right? Records expire by the clock: one that is far off makes a peer deaf, or unheard."""

from __future__ import annotations

from collections.abc import Callable

WRONG_SECONDS, FAR_SECONDS = 3.0, 1.0  # the DHT turns away a clock that is more than 3 s off
SET_CLOCK = "sudo timedatectl set-ntp true"


def fault(skew: float | None) -> str | None:
    """What is wrong with a clock that is `skew` seconds ahead of the others', and what to type; None: nothing."""
    if skew is None or abs(skew) <= WRONG_SECONDS:
        return None
    way = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {abs(skew):.0f} s {way} the others'; set it: {SET_CLOCK}"


class ClockWatch:
    """Says once that the clock is wrong, and once that it is right again."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.wrong = say, False

    def look(self, skew: float | None) -> None:
        """skew: seconds that this clock is ahead of the others'; None: not known now."""
        if skew is None:
            return
        told = fault(skew)
        if told is not None and not self.wrong:
            self.say(f"{told[0].upper()}{told[1:]}")
        elif told is None and self.wrong:
            self.say("This machine's clock is right again.")
        self.wrong = told is not None
