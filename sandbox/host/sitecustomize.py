"""Loaded by the program's Python: an interrupted program ends without a traceback.

After an error the engine interrupts the program; the language host that can be built from Go modules prints the
traceback of that interrupt among the messages, where it hides the error.
"""

import os
import signal
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(130)


signal.signal(signal.SIGINT, _leave)
