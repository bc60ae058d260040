"""Mistakes of an embedder: mypy has to report each line that ends in ``# expect``.

Lines that end in ``# accept`` are right and must not be reported.
"""

from __future__ import annotations

from typing import Any

from sessioncore import (
    Call,
    Clip,
    Deliver,
    Echo,
    EndReason,
    Frames,
    Record,
    SessionManager,
    SessionService,
    Settings,
    Silence,
    Tone,
    UserAgentClient,
    UserAgentServer,
    aio,
)
from sessioncore.events import CallAnswered, DigitReceived, Event


def digits(event: DigitReceived) -> None:
    print(event.digits)  # expect


def press(event: DigitReceived) -> None:
    print(event.digit)


def two(event: CallAnswered | DigitReceived) -> None:
    print(event.at)


def any_event(event: Event) -> None:
    print(event.digit)  # expect


def sources(manager: SessionManager, call: Call) -> None:
    manager.call("sip:b@h", source=5)  # expect
    manager.call("sip:b@h", source="tone:440")  # expect
    manager.prepare_call("sip:b@h", source=Record("a.wav"))  # expect
    manager.prepare_call("sip:b@h", sink=Tone())  # expect
    call.answer(source=440.0)  # expect
    call.answer(sink=Echo())  # expect
    call.set_source(None)  # expect
    call.set_source(Deliver(print))  # expect
    call.set_sink(Silence())  # expect
    Tone(frequencies="440")  # expect
    Clip(sample=[])  # expect
    Echo(gain="loud")  # expect
    Deliver("heard.wav")  # expect
    Frames().write()  # expect


def sinks(manager: SessionManager, service: SessionService, call: Call) -> None:
    manager.add_event_sink(press, DigitReceived)  # accept
    manager.add_event_sink(press)  # expect
    manager.add_event_sink(press, CallAnswered)  # expect
    manager.add_event_sink(5)  # expect
    manager.add_event_sink(two, CallAnswered, DigitReceived)  # accept
    call.add_event_sink(press, DigitReceived)  # accept
    call.add_event_sink(press)  # expect
    call.add_event_sink(any_event)  # accept
    manager.add_event_sink(any_event, str)  # expect
    manager.add_message_tap(any_event)  # expect
    manager.add_report_tap(any_event)  # expect
    service.add_event_sink(any_event, "DigitReceived")  # expect
    service.add_event_sink(press)  # expect
    service.add_event_sink(press, CallAnswered)  # expect
    service.add_event_sink(press, CallAnswered, DigitReceived)  # expect
    service.add_event_sink(press, DigitReceived)  # accept
    service.add_event_sink(two, CallAnswered, DigitReceived)  # accept
    service.add_event_sink(lambda event: print(event.digit), DigitReceived)  # accept
    service.add_event_sink(lambda event: print(event.digits), DigitReceived)  # expect


def because(reason: EndReason) -> None:
    print(reason.text)


async def calls(manager: SessionManager, call: Call) -> None:
    manager.call(5)  # expect
    manager.call("sip:b@h", late=True)  # expect
    manager.call("sip:b@h", headers=[("X-A", 5)])  # expect
    manager.call("sip:b@h", headers={"X-A": "1"}, display_name="A", ring_limit=5)  # accept
    manager.call(
        "sip:b@h", headers=(("X-A", "1"),), sink=[Record("a.wav"), Deliver(print)]
    )  # accept
    call.hang_up(486)  # expect
    call.modify("sendonly")  # expect
    call.reject("busy")  # expect
    because(await call.when_answered())  # expect
    print((await call.when_ended()).code)  # expect
    print(call.medium)  # expect
    call.role = None  # expect


def made(reactor: Any) -> None:
    Settings(max_calls="many")  # expect
    Settings(port=5060)  # expect
    SessionManager(reactor, {"listen": "udp:5060"})  # expect
    SessionService(on_incoming=5)  # expect
    SessionService(grace="4")  # expect
    UserAgentServer(reactor, answer="echo")  # expect
    UserAgentClient(reactor, settings="udp:0")  # expect


@aio.handler  # expect
def not_async(call: Call) -> None:
    call.ring()


@aio.handler  # expect
async def takes_nothing() -> None:
    return None
