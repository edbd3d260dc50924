"""What may end a run before its time: a signal, its wall time, a file named `stop`.

SIGTERM and SIGUSR1, by which batch systems warn, are noted; the run looks between two evaluations,
of which every one is on the disk by then, and ends with code 75. The next of these signals has its
own effect: the process ends at once. Wall time counts from the start of the program, and is up when
there is no time for another evaluation like the longest so far.
"""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interruption"]

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
BEGAN = time.monotonic()  # about the start of the program


class Interruption:
    """Whether this rank was asked to stop, while the block runs.

    Attributes:
        reason: in words, or "".
    """

    def __init__(self, wall_time: float | None) -> None:
        """Look out for signals in a `with` block.

        Args:
            wall_time: seconds since the start of the program, or None.
        """
        self.wall_time, self.reason = wall_time, ""
        self._before: dict[int, Any] = {}
        self._longest, self._last = 0.0, time.monotonic()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    def lap(self) -> None:
        """An evaluation is over."""
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now

    def asked(self) -> bool:
        """Whether to stop."""
        if self.wall_time is not None and not self.reason:
            left = self.wall_time - (time.monotonic() - BEGAN)
            if left < self._longest:
                self.reason = f"wall time of {self.wall_time:g} s"
        return bool(self.reason)
