"""SIP calls with audio both ways, for Twisted: a server, a client and a library.

The way of a call through the package, INVITE datagram to audio both ways:

==  ====================================  ==========================================================
 #  where                                 what
==  ====================================  ==========================================================
 1  net/sip_udp                           a datagram arrives, gets its time stamp and is handed on
 2  sip/message                           bytes become a Request or a Response, or are refused
 3  sip/{matching,server,client}          it finds its transaction; repetitions end here
 4  sip/dialog, session/registry          a dialog: tags, route set, remote target
 5  sip/inspection, sdp/negotiation       what must be refused is refused; descriptions are judged
 6  session/{callee,caller}               IncomingCall: the application decides; or it places a call
 7  session/{callee,caller,establishing}  the 200 OK, the agreement, establish_media_flow: one turn
 8  session/{acks,caller}                 the ACK; it plays no part in media
 9  media/plane, session/establishing     packets both ways: MediaActive
==  ====================================  ==========================================================

A UAC walks 6, 7 and 9 on the 200 OK.  ``sessioncore trace`` prints it from live traffic.

``sip``, ``sdp`` and ``rtp`` are pure and do not know one another; ``media`` moves all streams
as rows of numpy arrays; ``session`` is where they meet; only ``net`` touches sockets and
timers; `SessionManager` is the API over all of it.  Events are in `sessioncore.events`, errors
in `sessioncore.errors`, fakes for tests in `sessioncore.testing`.
"""

from sessioncore.agents import UserAgentClient, UserAgentServer
from sessioncore.errors import (
    CallFailed,
    CallOver,
    ConfigurationError,
    OneWayByAgreement,
    SessionCoreError,
)
from sessioncore.interfaces import ICallHandler, IEventSink
from sessioncore.manager import ManagerStatistics, SessionManager
from sessioncore.media.interfaces import IMediaSink, IMediaSource
from sessioncore.media.sinks import Deliver, Discard, Record
from sessioncore.media.sources import Clip, Echo, Frames, Silence, Tone
from sessioncore.service import SessionService
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.vocabulary import (
    Direction,
    EndedBy,
    EndReason,
    MediaState,
    NegotiatedMedia,
    SessionRole,
)

__all__ = [
    "Call",
    "CallFailed",
    "CallOver",
    "Clip",
    "ConfigurationError",
    "Deliver",
    "Direction",
    "Discard",
    "Echo",
    "EndReason",
    "EndedBy",
    "Frames",
    "ICallHandler",
    "IEventSink",
    "IMediaSink",
    "IMediaSource",
    "ManagerStatistics",
    "MediaState",
    "NegotiatedMedia",
    "OneWayByAgreement",
    "Record",
    "SessionCoreError",
    "SessionManager",
    "SessionRole",
    "SessionService",
    "Settings",
    "Silence",
    "Tone",
    "UserAgentClient",
    "UserAgentServer",
]
