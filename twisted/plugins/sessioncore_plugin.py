"""Makes ``twistd sessioncore`` known to Twisted."""

from twisted.application.service import ServiceMaker

sessioncore = ServiceMaker(
    "sessioncore",
    "sessioncore.daemon.options",
    "SIP session server and client: answers or places calls with audio both ways.",
    "sessioncore",
)
