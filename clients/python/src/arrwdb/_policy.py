"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from .errors import ArrwdbError

# Of an error that arrwdb did not send itself: the connection broke under the call.
_BROKEN = {"unavailable", "internal", "cancelled"}


@dataclass(frozen=True)
class Retry:
    """How calls that may be retried are retried. Pauses double, and have jitter."""

    attempts: int = 5
    """Most attempts of one call, the first included; 1 for no retries. Streams that resume
    (`ingest`, `subscribe`) are not counted: they have `give_up_after`."""
    pause: float = 0.1
    """Seconds before the second attempt."""
    pause_max: float = 5.0
    """Most seconds between two attempts."""


def is_passing(error: ArrwdbError) -> bool:
    """Whether the same request may work a little later."""
    if not error.from_server:
        return error.slug in _BROKEN
    return error.slug == "unavailable" or (
        error.slug == "resource-exhausted" and error.retry_after is not None
    )


def pause_before(retry: Retry, failures: int, error: ArrwdbError) -> float:
    """Seconds to wait after so many failures in a row: between half and all of what doubling
    gives, but not less than the server asks for."""
    pause = min(retry.pause * 2.0 ** min(failures - 1, 30), retry.pause_max)
    return max(pause * random.uniform(0.5, 1.0), error.retry_after or 0.0)


class Attempts:
    """The attempts of one call: how many there were, and what of its time is left."""

    def __init__(self, retry: Retry, timeout: float, *, safe: bool) -> None:
        self._retry = retry
        self._most = retry.attempts if safe else 1
        self._failures = 0
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds until the deadline, for this attempt."""
        return max(self._end - time.monotonic(), 0.001)

    def pause(self, error: ArrwdbError) -> float | None:
        """Seconds to wait before the next attempt; `None`: there is none."""
        self._failures += 1
        if self._failures >= self._most or not is_passing(error):
            return None
        pause = pause_before(self._retry, self._failures, error)
        return pause if pause < self.left() else None


class Outage:
    """A stream that broke: since when nothing came, and when to give it up."""

    def __init__(self, retry: Retry, give_up_after: float | None) -> None:
        self._retry = retry
        self._give_up_after = give_up_after
        self._failures = 0
        self._since = 0.0

    def over(self) -> None:
        """Something came."""
        self._failures = 0

    def pause(self, error: ArrwdbError) -> float | None:
        """Seconds to wait before the next connection; `None`: it lasts too long."""
        now = time.monotonic()
        if self._failures == 0:
            self._since = now
        self._failures += 1
        pause = pause_before(self._retry, self._failures, error)
        if self._give_up_after is not None and now + pause - self._since > self._give_up_after:
            return None
        return pause
