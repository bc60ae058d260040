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
 6  session/{callee,placing}              IncomingCall: the application decides; or it places a call
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
    MediaFileError,
    ModificationRefused,
    OneWayByAgreement,
    SessionCoreError,
    TooManyCalls,
    UnreachableTarget,
)
from sessioncore.events import Event, VerdictChanged
from sessioncore.explanation import ExplainedFormat, ExplainedMedia, Explanation
from sessioncore.interfaces import (
    ICallHandler,
    IEventObserver,
    IEventSink,
    IMessageTap,
    IReportTap,
    ISipFlow,
    ISipTransport,
)
from sessioncore.manager import ManagerStatistics, SessionManager
from sessioncore.media.interfaces import IMediaSink, IMediaSource
from sessioncore.media.sinks import Deliver, Discard, MediaSink, Record
from sessioncore.media.sources import Clip, Echo, Frames, MediaSource, Silence, Tone
from sessioncore.media.statistics import StreamStatistics
from sessioncore.rtp.audio_codec import AudioCodec
from sessioncore.service import SessionService
from sessioncore.session.call import Call
from sessioncore.session.session import SessionState
from sessioncore.settings import Settings
from sessioncore.verdict import Cause, Evidence, Finding, Judgement, Proof, Verdict
from sessioncore.vocabulary import (
    Codec,
    Direction,
    EndedBy,
    EndReason,
    MediaState,
    NegotiatedMedia,
    SessionRole,
    StreamAgreement,
)

__all__ = [
    "AudioCodec",
    "Call",
    "CallFailed",
    "CallOver",
    "Cause",
    "Clip",
    "Codec",
    "ConfigurationError",
    "Deliver",
    "Direction",
    "Discard",
    "Echo",
    "EndReason",
    "EndedBy",
    "Event",
    "Evidence",
    "ExplainedFormat",
    "ExplainedMedia",
    "Explanation",
    "Finding",
    "Frames",
    "ICallHandler",
    "IEventObserver",
    "IEventSink",
    "IMediaSink",
    "IMediaSource",
    "IMessageTap",
    "IReportTap",
    "ISipFlow",
    "ISipTransport",
    "Judgement",
    "ManagerStatistics",
    "MediaFileError",
    "MediaSink",
    "MediaSource",
    "MediaState",
    "ModificationRefused",
    "NegotiatedMedia",
    "OneWayByAgreement",
    "Proof",
    "Record",
    "SessionCoreError",
    "SessionManager",
    "SessionRole",
    "SessionService",
    "SessionState",
    "Settings",
    "Silence",
    "StreamAgreement",
    "StreamStatistics",
    "Tone",
    "TooManyCalls",
    "UnreachableTarget",
    "UserAgentClient",
    "UserAgentServer",
    "Verdict",
    "VerdictChanged",
]
