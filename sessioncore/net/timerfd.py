"""Linux timerfd(2): a file descriptor that becomes readable at an absolute monotonic time.

`os` has it from Python 3.13 on.  Before that, the C library is called through ctypes; setting it,
which every tick does, uses ``_pump.c`` if that was compiled, because ctypes is slow.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from sessioncore.net.pump import compiled

__all__ = ["available", "create", "set_absolute"]

set_timer: Final = None if compiled is None else compiled.set_timer
_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC if os.name == "posix" else 0
_NANOSECONDS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_Functions = tuple[Callable[[], int], Callable[[int, int], None]]


def _through_os() -> _Functions | None:
    create_timer: Any = getattr(os, "timerfd_create", None)
    set_time: Any = getattr(os, "timerfd_settime_ns", None)
    if create_timer is None or set_time is None:
        return None

    def create() -> int:
        return int(create_timer(_CLOCK_MONOTONIC, flags=_FLAGS))

    def set_absolute(descriptor: int, when: int) -> None:
        set_time(descriptor, flags=_ABSOLUTE, initial=when)

    return create, set_absolute


def _through_ctypes() -> _Functions | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        create_timer, set_time = library.timerfd_create, library.timerfd_settime
    except (OSError, AttributeError):
        return None
    set_time.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Itimerspec), ctypes.c_void_p)
    # One structure for all calls: the C library copies it, and there is one reactor thread.
    setting = _Itimerspec()
    pointer = ctypes.pointer(setting)
    value = setting.value

    def create() -> int:
        descriptor = int(create_timer(_CLOCK_MONOTONIC, _FLAGS))
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return descriptor

    def set_absolute(descriptor: int, when: int) -> None:
        value.seconds, value.nanoseconds = divmod(when, _NANOSECONDS)
        if set_time(descriptor, _ABSOLUTE, pointer, None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return create, set_absolute if set_timer is None else set_timer


_functions: Final = (_through_os() or _through_ctypes()) if sys.platform == "linux" else None


def available() -> bool:
    """Whether this platform has timerfd."""
    return _functions is not None


def create() -> int:
    """Open a non-blocking, close-on-exec descriptor on CLOCK_MONOTONIC; raises `OSError`."""
    if _functions is None:
        raise OSError(errno.ENOSYS, "this platform has no timerfd")
    return _functions[0]()


def set_absolute(descriptor: int, when: int) -> None:
    """Fire once at ``when`` (monotonic ns), at once if that has passed; 0 disarms.

    Setting also clears an earlier expiry, so it need not be read.
    """
    if _functions is None:
        raise OSError(errno.ENOSYS, "this platform has no timerfd")
    _functions[1](descriptor, when)
