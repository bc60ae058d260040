"""Collects a dossier of each call, and writes it to a folder once the call is over."""

from __future__ import annotations

import errno
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger
from zope.interface import implementer

from sessioncore.deadlines import Deadlines, Fifo
from sessioncore.errors import ConfigurationError
from sessioncore.events import (
    CallAnswered,
    CallEnded,
    CallFailed,
    IncomingCall,
    MediaNegotiated,
    OutgoingCallPrepared,
    VerdictChanged,
)
from sessioncore.interfaces import IEventObserver, IMessageTap
from sessioncore.vocabulary import MILLISECOND, SECOND, Address, SessionRole
from sessioncore.watching.dossier_account import (
    FAULTLESS,
    Account,
    Begin,
    begins_a_call,
    invited,
    owner,
)
from sessioncore.watching.dossier_making import dossier_steps
from sessioncore.watching.messages import Message, call_id_of
from sessioncore.watching.wall_clock import WallClock

if TYPE_CHECKING:
    from sessioncore.session.call import Call
    from sessioncore.settings import Settings

__all__ = ["Dossiers"]

LINGER: Final = SECOND
"""How long, in ns, after its end a call is listened to: for the last answers and reports."""
SLICE: Final = 2 * MILLISECOND
"""How long, in ns, is written at once: less than half a tick of the media."""
REST: Final = 20 * MILLISECOND
"""The least time, in ns, until it goes on."""
SHARE: Final = 10
"""At most one part in so many of the process's time goes into writing."""
CLOSING: Final = SECOND
"""How long, in ns, may be written at the end of the process."""
MOST_HELD: Final = 64 << 20
"""Bytes of messages that are kept of all calls."""
MOST_WAITING: Final = 1000
"""Calls that are over and wait to be written; further ones are lost."""
_NO_TIME: Final = "there was no time at the end"
_log: Final = Logger(namespace="sessioncore.watching.dossiers")


class _Clockwork(Protocol):
    """The clockwork as dossiers use it."""

    deadlines: Deadlines

    def now(self) -> int: ...


class _Manager(Protocol):
    """The manager as dossiers use it."""

    settings: Settings

    @property
    def clockwork(self) -> _Clockwork: ...

    def find_call(self, session: str) -> Call | None: ...


@implementer(IEventObserver, IMessageTap)
class Dossiers:
    """An event sink and message tap that writes one JSON file per call to ``folder``.

    Add it to ``manager`` as both, and `close` it when the manager has stopped.  With
    ``only_faulty`` a call is written only if it failed, or if its audio was judged faulty at
    any time.  ``written`` counts files, ``lost`` calls that could not be written.

    A file is named after the time and our session id, is readable by its owner only, and
    appears as a whole.  Messages contain no secrets.  What is kept of a call is limited, and so
    is the time that goes into writing.
    """

    def __init__(
        self,
        manager: _Manager,
        folder: str | os.PathLike[str],
        *,
        only_faulty: bool = False,
        clock: WallClock | None = None,
        busy: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.written = 0
        self.lost = 0
        self._manager = manager
        self._folder = Path(folder)
        self._only_faulty = only_faulty
        self._clock = clock or WallClock(manager.clockwork.now)
        self._busy = busy
        self._deadlines = manager.clockwork.deadlines
        self._lingering: Fifo[str] = self._deadlines.fifo(LINGER, self._over, REST)
        self._accounts: dict[str, Account] = {}
        self._by_call: dict[str, list[Account]] = {}
        self._new: list[Message] = []
        """The INVITE that arrived last, which may become a call in this very turn, and answers."""
        self._new_call_id = ""
        self._held = 0
        self._waiting: deque[Account] = deque()
        self._writing: Iterator[None] | None = None
        self._armed = False
        self._failing = False

    def prepare(self) -> None:
        """Make the folder if it is missing; raises `ConfigurationError`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ConfigurationError(
                f"the folder {self._folder} for dossiers cannot be used: {error.strerror}; name a"
                " folder that you may write to"
            ) from None

    # --- what happens

    def event(self, event: Any) -> None:
        """Take one event of any call."""
        kind = event.__class__
        if kind is IncomingCall or kind is OutgoingCallPrepared:
            self._begin(event)
        account = self._accounts.get(event.session)
        if account is None or account.end is not None:
            return
        if kind is VerdictChanged:
            account.verdicts.add(event, 1)
            account.faulty = account.faulty or event.verdict.judgement not in FAULTLESS
            return
        account.events.add(event, 1)
        if kind is MediaNegotiated:
            account.media = event.media
        elif kind is CallAnswered:
            account.answered = event.at
        elif kind is CallEnded or kind is CallFailed:
            account.end = event
            account.faulty = account.faulty or kind is CallFailed
            self._lingering.add(event.session, event.at)

    def _begin(self, event: Begin) -> None:
        call = self._manager.find_call(event.session)
        account = self._accounts[event.session] = Account(event, call, event.at)
        self._by_call.setdefault(event.call_id, []).append(account)
        if event.role is SessionRole.UAS and self._new_call_id == event.call_id and self._new:
            account.started = self._new[0].at
            invited((account,), self._new[0])
            for message in self._new:
                self._keep(account, message)
            self._new = []

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        """Take one message."""
        message = Message(data, source, destination, transport, sent, at)
        call_id = call_id_of(data).decode("utf-8", "backslashreplace")  # as in events
        accounts = self._by_call.get(call_id, ())
        begins = begins_a_call(data)
        if not sent:
            self._new = []
        elif self._new and self._new_call_id == call_id and data.startswith(b"SIP/2.0 "):
            # A refusal leaves before its call is announced.
            self._new.append(message)
            return
        account = invited(accounts, message) if begins else owner(accounts, message)
        if account is not None:
            self._keep(account, message)
        elif begins and not sent:
            self._new, self._new_call_id = [message], call_id

    def _keep(self, account: Account, message: Message) -> None:
        if self._held + len(message.data) > MOST_HELD:
            account.refused += 1
            return
        before = account.messages.size
        account.messages.add(message, len(message.data))
        self._held += account.messages.size - before

    # --- the end of a call

    def _over(self, session: str, now: int) -> None:
        account = self._forget(session)
        if account is None:
            return
        account.judge()
        if self._only_faulty and not account.faulty:
            self._held -= account.messages.size
        elif len(self._waiting) >= MOST_WAITING:
            self._held -= account.messages.size
            self._lose("more calls end than can be written")
        else:
            self._waiting.append(account)
            if not self._armed:
                self._write_on(None, now)

    def _forget(self, session: str) -> Account | None:
        account = self._accounts.pop(session, None)
        if account is not None:
            others = self._by_call[account.begin.call_id]
            others.remove(account)
            if not others:
                del self._by_call[account.begin.call_id]
        return account

    def _write_on(self, _none: None, now: int) -> None:
        """Write for a moment, and go on later."""
        self._armed = False
        begun = self._busy()
        while self._step() and self._busy() - begun < SLICE:
            pass
        if self._writing is not None or self._waiting:
            self._armed = True
            took = self._busy() - begun
            self._deadlines.at(now + max(REST, SHARE * took), self._write_on)

    def _step(self) -> bool:
        """One step of writing; False if there is nothing left to write."""
        if self._writing is None:
            if not self._waiting:
                return False
            self._writing = self._written(self._waiting.popleft())
        try:
            next(self._writing)
        except StopIteration:
            self._writing = None
        except OSError as error:
            self._writing = None
            self._lose(f"{error.strerror}: {self._folder}")
        return True

    def close(self) -> None:
        """Write what waits, and the calls that are not over yet, within `CLOSING`."""
        self._deadlines.remove(self._lingering)
        end = self._busy() + CLOSING
        for session, account in list(self._accounts.items()):
            self._forget(session)
            account.judge()
            if account.faulty or not self._only_faulty:
                self._waiting.append(account)
        while self._busy() < end and self._step():
            pass
        if self._writing is not None:
            self._writing = None
            self._lose(_NO_TIME)
        while self._waiting:
            self._held -= self._waiting.popleft().messages.size
            self._lose(_NO_TIME)

    def _written(self, account: Account) -> Iterator[None]:
        """Write one file, step by step."""
        self._held -= account.messages.size
        program = self._manager.settings.user_agent
        dossier = yield from dossier_steps(account, self._clock.ns(0), program)
        pieces = []
        for piece in dossier.pieces():
            pieces.append(piece)
            yield
        stamp = re.sub(r"[-:]|\.[0-9]+", "", dossier.started)
        # Our own session id, and nothing that a peer chose.
        path = self._folder / f"{stamp}-{dossier.session}.json"
        _write_whole(path, "".join(pieces).encode("ascii"))
        self.written += 1
        self._failing = False

    def _lose(self, why: str) -> None:
        self.lost += 1
        if not self._failing:
            self._failing = True
            _log.error("dossiers cannot be written: {why}", why=why)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and that nobody sees half of."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            beside.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(beside, "wb", opener=lambda name, _: os.open(name, flags, 0o600)) as file:
            file.write(data)
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
