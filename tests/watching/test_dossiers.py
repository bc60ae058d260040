"""Dossiers of real calls on the in-memory network: what is in them, and what limits them."""

from __future__ import annotations

import json
import os
import shutil
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.logger import Logger, formatEvent
from zope.interface.verify import verifyObject

from sessioncore.errors import ConfigurationError
from sessioncore.events import CallFailed, IncomingCall, OutgoingCallPrepared, VerdictChanged
from sessioncore.interfaces import IEventObserver, IMessageTap
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.testing import messages
from sessioncore.verdict import Evidence, judge
from sessioncore.vocabulary import (
    MILLISECOND,
    SECOND,
    Direction,
    EndedBy,
    EndReason,
    MediaState,
    SessionRole,
)
from sessioncore.watching import dossiers as module
from sessioncore.watching.dossier import Dossier
from sessioncore.watching.dossier_account import MOST_EVENTS, MOST_MESSAGES, ROOM
from sessioncore.watching.dossier_making import LONGEST
from sessioncore.watching.dossier_reader import read_dossier
from sessioncore.watching.dossiers import REST, SHARE, SLICE, Dossiers
from sessioncore.watching.wall_clock import WallClock
from tests.session.scene import A, B, C, Caller, Party, Scene

NOON = 1_767_268_800 * SECOND


def ring_and_answer(call: Call) -> Any:
    call.ring()
    return call.answer(source=Tone())


class DossierCase(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []
        logger = Logger(namespace="x", observer=lambda event: self.told.append(formatEvent(event)))
        self.patch(module, "_log", logger)
        self.time = 0

    def dossiers(self, party: Party, folder: str | None = None, **given: Any) -> Dossiers:
        folder = folder or self.mktemp()
        made = Dossiers(
            party.manager,
            folder,
            clock=WallClock(lambda: 0, lambda: NOON),
            **{"busy": lambda: self.time, **given},
        )
        made.prepare()
        party.manager.add_event_sink(made)
        party.manager.add_message_tap(made)
        return made

    def files(self, made: Dossiers) -> list[Path]:
        return sorted(made._folder.iterdir())

    def read(self, made: Dossiers) -> Dossier:
        """The only dossier."""
        (path,) = self.files(made)
        return read_dossier(path)

    def assertEmpty(self, made: Dossiers) -> None:
        """Nothing is kept of calls that are over."""
        kept = (made._accounts, made._by_call, list(made._waiting), made._held, made._writing)
        self.assertEqual(kept, ({}, {}, [], 0, None))

    def talk(self, us: Party, seconds: float = 2.0, **given: Any) -> Call:
        call = us.call(source=Tone(), **given)
        self.run_for(seconds)
        call.hang_up()
        self.run_for(2)
        return call


def story(dossier: Dossier) -> str:
    """``>INVITE <180 <200 >ACK``: the messages."""
    words = []
    for entry in dossier.messages:
        first = entry.first_line.split()
        words.append("<>"[entry.sent] + first[first[0] == "SIP/2.0"])
    return " ".join(words)


class ContentTests(DossierCase):
    def test_a_call_on_both_sides(self) -> None:
        us, them = self.party(A), self.party(B, ring_and_answer)
        ours, theirs = self.dossiers(us), self.dossiers(them)
        self.assertTrue(verifyObject(IEventObserver, ours))
        self.assertTrue(verifyObject(IMessageTap, ours))
        call = self.talk(us, from_uri="sip:alice@example.com")
        got = self.read(ours)
        self.assertEqual((got.session, got.call_id, got.role), (call.session, call.call_id, "UAC"))
        self.assertEqual((got.schema, got.program), (1, us.manager.settings.user_agent))
        self.assertEqual(got.local_uri, "sip:alice@example.com")
        self.assertEqual((got.remote_uri, got.request_uri), (f"sip:bob@{B}", None))
        self.assertEqual(got.started, "2026-01-01T12:00:00.000000Z")
        self.assertEqual(story(got), ">INVITE <180 <200 >ACK >BYE <200")
        self.assertEqual(got.messages[0].source, (A, 5060))
        self.assertEqual(got.messages[1].source, (B, 5060))
        self.assertEqual({entry.transport for entry in got.messages}, {"UDP"})
        self.assertEqual(
            [entry.data for entry in got.messages],
            [each.data for each in self.network.captured if each.source[1] == 5060],
        )
        assert got.answered_at is not None and got.ended_at is not None and got.end is not None
        self.assertLess(got.answered_at, 0.1)
        self.assertAlmostEqual(got.ended_at, 2.0, 1)
        times = [entry.at for entry in got.messages]
        self.assertEqual((times, times[0]), (sorted(times), 0.0))
        self.assertEqual((got.end["by"], got.end["cause"]), ("local", 16))
        self.assertIs(got.faulty, False)
        self.assertEqual(got.verdict["judgement"], "two_way")
        self.assertEqual(got.verdict, json.loads(json.dumps(call.verdict.as_dict())))
        self.assertEqual(got.verdicts[0].verdict["judgement"], "two_way")
        self.assertEqual(
            [step.name for step in got.media],
            ["negotiated", "established", "first sent", "first received", "latched", "active"],
        )
        self.assertIn(f"{B}:40000", got.media[4].detail)
        assert got.negotiated is not None and got.statistics is not None
        self.assertEqual(got.negotiated["codec"], "PCMU/8000")
        self.assertEqual(got.negotiated["local"], [A, 40000])
        self.assertGreater(got.statistics["sending"]["packets_sent"], 90)
        self.assertGreater(got.statistics["receiving"]["packets_received"], 90)
        names = [entry.event for entry in got.events]
        self.assertEqual(names[0], "OutgoingCallPrepared")
        self.assertEqual(names[-1], "CallEnded")
        judged = got.events[names.index("VerdictChanged")]
        self.assertEqual(judged.details, {"judgement": "two_way"})
        mirror = self.read(theirs)
        self.assertEqual(story(mirror), story(got).translate({60: 62, 62: 60}))
        self.assertEqual((mirror.role, mirror.local_uri), ("UAS", f"sip:bob@{B}"))
        self.assertEqual(mirror.request_uri, f"sip:bob@{B}")
        self.assertEqual(mirror.call_id, got.call_id)
        for made in (ours, theirs):
            self.assertEmpty(made)
            self.assertEqual((made.written, made.lost), (1, 0))

    def test_a_process_that_calls_itself(self) -> None:
        """Two legs with one Call-ID: each message belongs to one of them."""
        for hangs_up, callee, caller in (
            ("UAC", "<BYE >200", ">BYE <200"),
            ("UAS", ">BYE <200", "<BYE >200"),
        ):
            us = self.party(A if hangs_up == "UAC" else B, ring_and_answer)
            made = self.dossiers(us)
            us.call(f"sip:me@{us.host.addresses[0]}", source=Tone())
            self.run_for(1)
            next(call for call in us.manager.calls if str(call.role) == hangs_up).hang_up()
            self.run_for(2)
            found = {each.role: each for each in map(read_dossier, self.files(made))}
            self.assertEqual(story(found["UAC"]), f">INVITE <180 <200 >ACK {caller}")
            self.assertEqual(story(found["UAS"]), f"<INVITE >180 >200 <ACK {callee}")
            self.assertEmpty(made)

    def test_the_acknowledgement_of_a_refusal(self) -> None:
        us, them = self.party(A), self.party(B, lambda call: call.reject(486))
        ours, theirs = self.dossiers(us), self.dossiers(them)
        us.call()
        self.run_for(2)
        got = self.read(ours)
        self.assertEqual(story(got), ">INVITE <486 >ACK")
        self.assertEqual((got.faulty, got.answered_at), (True, None))
        assert got.end is not None
        self.assertEqual(got.end["status"], 486)
        self.assertEqual((got.negotiated, got.media), (None, ()))
        assert got.statistics is not None  # its ports were open
        self.assertEqual(got.statistics["sending"]["packets_sent"], 0)
        self.assertEqual(story(self.read(theirs)), "<INVITE >486 <ACK")

    def test_refused_before_anybody_is_asked(self) -> None:
        us = self.party(A, codecs=("PCMA",))
        them = self.party(B, ring_and_answer, codecs=("PCMU",))
        theirs = self.dossiers(them)
        us.call()
        self.run_for(2)
        got = self.read(theirs)
        self.assertEqual((story(got), got.faulty), ("<INVITE >488 <ACK", True))

    def test_a_process_that_refuses_its_own_call(self) -> None:
        """The refusal leaves before the call is announced, and is not the caller's."""
        made = self.dossiers(self.party(A))
        invite = messages.invite(call_id="same@h")
        refusal = messages.response(invite, 420, "Bad Extension")
        ack = messages.ack(call_id="same@h", to=refusal)
        reason = EndReason(EndedBy.REMOTE, "Bad Extension", 420)

        def happens(kind: Any, session: str, role: SessionRole, *details: Any) -> None:
            now = self.network.now
            made.event(kind(session, "same@h", role, MediaState.IDLE, now, *details))

        def passes(data: bytes, *ways: bool) -> None:
            for sent in ways:
                made.message(data, (A, 5060), (A, 5060), "UDP", sent, self.network.now)

        happens(OutgoingCallPrepared, "1", SessionRole.UAC, "sip:me@h")
        passes(invite, True, False)
        passes(refusal, True)
        happens(IncomingCall, "2", SessionRole.UAS, "sip:me@h", "sip:me@h")
        happens(CallFailed, "2", SessionRole.UAS, reason)
        passes(refusal, False)
        happens(CallFailed, "1", SessionRole.UAC, reason)
        passes(ack, True, False)
        self.run_for(2)
        found = {each.role: each for each in map(read_dossier, self.files(made))}
        self.assertEqual(story(found["UAC"]), ">INVITE <420 >ACK")
        self.assertEqual(story(found["UAS"]), "<INVITE >420 <ACK")

    def test_retransmissions_are_named_and_not_repeated(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.invite()
        self.run_for(0.01)
        caller.invite()
        self.run_for(0.6)
        caller.ack()
        self.run_for(0.1)
        caller.within("BYE")
        self.run_for(2)
        got = self.read(made)
        self.assertEqual(story(got), "<INVITE >200 <INVITE >200 <ACK <BYE >200")
        self.assertEqual([entry.copy_of for entry in got.messages], [None, None, 0, 1, *3 * [None]])
        self.assertEqual(
            [not entry.text for entry in got.messages][:5], [False, False, True, True, False]
        )
        self.assertEqual(got.messages[2].octets, len(got.messages[0].data))

    def test_what_changed_in_descriptions(self) -> None:
        us, them = self.party(A), self.party(B, ring_and_answer)
        made = self.dossiers(us)
        call = us.call(source=Tone())
        self.run_for(1)
        call.modify(Direction.SENDONLY)
        self.run_for(1)
        call.hang_up()
        self.run_for(2)
        got = self.read(made)
        offers = [each.description_changes for each in got.messages if each.first_line[:3] == "INV"]
        self.assertIsNone(offers[0])
        assert offers[1] is not None
        self.assertIn("-a=sendrecv", offers[1])
        self.assertIn("+a=sendonly", offers[1])
        self.assertEqual([line[:3] for line in offers[1]].count("-o="), 1)
        answers = [
            each for each in got.messages if "200" in each.first_line and "INVITE" in each.text
        ]
        self.assertIsNone(answers[0].description_changes)
        self.assertIn("+a=recvonly", answers[1].description_changes or ())
        self.assertIsNone(got.messages[-1].description_changes)
        self.assertIn("held", [step.name for step in self.read_other(them)])

    def read_other(self, them: Party) -> tuple[Any, ...]:
        """The media of another call, in which the peer holds."""
        made = self.dossiers(them)
        us = self.party(C)
        call = us.call(f"sip:bob@{B}", source=Tone())
        self.run_for(1)
        call.modify(Direction.SENDONLY)
        self.run_for(1)
        call.hang_up()
        self.run_for(2)
        return self.read(made).media

    def test_many_changes_are_cut(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        for lines in (0, 60):
            body = messages.offer(C) + b"".join(b"a=x:%d\r\n" % each for each in range(lines))
            caller.within("INVITE", body=body)
            self.run_for(0.01)
            caller.ack()
            self.run_for(0.01)
        caller.within("BYE")
        self.run_for(2)
        changed = [each.description_changes for each in self.read(made).messages]
        long = max((each for each in changed if each is not None), key=len)
        self.assertEqual((len(long), long[-1]), (41, "... and 20 more"))

    def test_without_secrets(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        body = messages.offer(C) + b"a=ice-pwd:SECRET1\r\n"
        authorization = 'Digest username="bob", response="SECRET2"'
        caller.invite(body=body, headers=[("Authorization", authorization)])
        self.run_for(0.01)
        caller.ack()
        caller.within("BYE")
        self.run_for(2)
        (path,) = self.files(made)
        self.assertNotIn("SECRET", path.read_text())
        got = read_dossier(path)
        self.assertIn('username="bob", response="*******"', got.messages[0].text)
        self.assertEqual(len(got.messages[0].data), got.messages[0].octets)

    def test_odd_bytes(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        caller.within("OPTIONS", headers=[("X-Odd", "J\u00fcrgen")])
        odd = messages.request("OPTIONS", caller.who.with_answer(caller.answer), sequence=9)
        odd = odd.replace(b"\r\n\r\n", b"\r\nX: \xff\xfe\r\n\r\n", 1)
        caller.send(odd)
        caller.send(odd.replace(b"CSeq: 9 ", b"CSeq: 999999999999 "))
        self.run_for(0.1)
        caller.within("BYE", sequence=10)
        self.run_for(2)
        got = self.read(made)
        found = [each for each in got.messages if each.first_line.startswith("OPTIONS")]
        self.assertEqual([each.encoding for each in found], ["utf-8", "latin-1", "latin-1"])
        self.assertIn("X-Odd: J\u00fcrgen", found[0].text)
        self.assertEqual(found[1].data, odd)
        self.assertEqual((found[0].problem, found[1].problem), (None, None))

    def test_a_message_that_cannot_be_read(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        call_id = us.call_in.call_id.encode()
        caller.send(b"OPTIONS\r\nCall-ID: " + call_id + b"\r\n\r\n")
        caller.within("BYE")
        self.run_for(2)
        broken = next(e for e in self.read(made).messages if e.first_line == "OPTIONS")
        self.assertTrue(broken.problem)

    def test_long_messages_are_cut_at_a_line(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        line = "x" * 70
        caller.within("OPTIONS", headers=[("X", line)] * 60 + [("Y", "y" * 14_000)])
        caller.within("BYE")
        self.run_for(2)
        long = max(self.read(made).messages, key=lambda each: each.octets)
        self.assertGreater(long.octets, LONGEST)
        self.assertTrue(long.text.endswith(f"X: {line}\r\n"))
        self.assertLess(len(long.text), long.octets)

    def test_other_messages_are_nobodys(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        peer = self.peer(C)
        peer.send(messages.options(), (B, 5060))
        peer.send(b"\xff\x00 noise", (B, 5060))
        peer.send(messages.bye(call_id="nobody"), (B, 5060))
        self.run_for(2)
        self.assertEqual(self.files(made), [])
        self.assertEmpty(made)

    def test_calls_that_began_before(self) -> None:
        us, _them = self.pair(ring_and_answer)
        call = us.call(source=Tone())
        self.run_for(0.5)
        made = self.dossiers(us)
        call.hang_up()
        self.run_for(2)
        self.assertEqual(self.files(made), [])

    def test_a_call_that_the_manager_does_not_find(self) -> None:
        us, _them = self.pair(lambda call: call.reject(486))
        made = self.dossiers(us)
        made._manager.find_call = lambda session: None  # type: ignore[method-assign]
        us.call()
        self.run_for(2)
        got = self.read(made)
        self.assertEqual((got.local_uri, got.remote_uri), ("", f"sip:bob@{B}"))
        self.assertEqual(got.verdict["judgement"], "not_answered")


class FaultyTests(DossierCase):
    def test_only_calls_that_failed(self) -> None:
        us = self.party(A)
        self.party(B, lambda call: call.reject(486) if "busy" in call.local_uri else call.answer())
        made = self.dossiers(us, only_faulty=True)
        self.talk(us)
        self.assertEqual(self.files(made), [])
        self.assertEmpty(made)
        us.call(f"sip:busy@{B}")
        self.run_for(2)
        self.assertEqual(len(self.files(made)), 1)

    def test_calls_whose_audio_was_faulty_at_any_time(self) -> None:
        us, _them = self.pair(ring_and_answer)
        made = self.dossiers(us, only_faulty=True)
        for judged, count in ((Evidence(), 0), (self.nothing_heard(), 1)):
            call = us.call(source=Tone())
            self.run_for(1)
            made.event(
                VerdictChanged(
                    call.session,
                    call.call_id,
                    SessionRole.UAC,
                    MediaState.ACTIVE,
                    self.network.now,
                    judge(judged),
                )
            )
            call.hang_up()
            self.run_for(2)
            self.assertEqual(len(self.files(made)), count)
        got = self.read(made)
        self.assertEqual([each.verdict["judgement"] for each in got.verdicts], ["two_way", "no_rx"])
        self.assertEqual((got.verdict["judgement"], got.faulty), ("two_way", True))

    @staticmethod
    def nothing_heard() -> Evidence:
        return Evidence(answered=True, agreed_for=9.0, receives=True, sends=True, sent=400)

    def test_calls_whose_audio_is_faulty_in_the_end(self) -> None:
        """Nothing ever comes, and the call is over before anybody is told."""
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us, only_faulty=True)
        caller = Caller(self.peer(C))
        caller.established(self)
        caller.within("BYE")
        self.run_for(2)
        got = self.read(made)
        assert got.end is not None
        self.assertEqual((got.faulty, got.end["by"]), (True, "remote"))
        self.assertIn(got.verdict["judgement"], ("no_rx", "no_media"))


class FileTests(DossierCase):
    def one(self, **given: Any) -> tuple[Party, Dossiers]:
        us = self.party(A)
        self.party(B, lambda call: call.reject(486))
        return us, self.dossiers(us, **given)

    def fail(self, us: Party) -> None:  # type: ignore[override]
        us.call()
        self.run_for(2)

    def test_name_and_mode(self) -> None:
        us, made = self.one()
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.fail(us)
        (path,) = self.files(made)
        self.assertRegex(path.name, r"^20260101T120000Z-[0-9a-f]+-1\.json$")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        text = path.read_text()
        self.assertTrue(text.isascii() and text.endswith("}\n"))
        self.assertEqual(
            text.count("\n  {"), len(json.loads(text)["messages"]) + text.count('"event":')
        )

    def test_a_hostile_call_id(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        peer = self.peer(C)
        for call_id in ("../../../tmp/x", "a/b", "..", "nul\x7f\u00fc", "x" * 3000):
            caller = Caller(peer, call_id=call_id)
            caller.invite()
            self.run_for(0.01)
            caller.ack()
            caller.within("BYE")
            self.run_for(2)
        self.assertEqual(len(self.files(made)), 5)
        for path in self.files(made):
            self.assertRegex(path.name, r"^[0-9TZ]+-[0-9a-f]+-[0-9]+\.json$")
            self.assertEqual(story(read_dossier(path)), "<INVITE >200 <ACK <BYE >200")

    def test_the_folder_is_made_for_its_owner(self) -> None:
        folder = Path(self.mktemp()) / "a" / "b"
        us = self.party(A)
        self.dossiers(us, str(folder))
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)

    def test_a_folder_that_cannot_be_used(self) -> None:
        us = self.party(A)
        for name in ("/dev/null/x", "/dev/null"):
            error = self.assertRaises(ConfigurationError, Dossiers(us.manager, name).prepare)
            self.assertIn(f"the folder {name} for dossiers cannot be used: ", str(error))
            self.assertNotIn("\n", str(error))
        self.patch(os, "access", lambda path, mode: False)
        error = self.assertRaises(ConfigurationError, Dossiers(us.manager, self.mktemp()).prepare)
        self.assertIn("cannot be used: Permission denied; name a folder", str(error))

    def test_a_folder_that_goes_away_is_counted_and_told_once(self) -> None:
        us, made = self.one()
        shutil.rmtree(made._folder)
        for count in (1, 2):
            self.fail(us)
            self.assertEqual((made.written, made.lost), (0, count))
        self.assertEqual(len(self.told), 1)
        self.assertIn("dossiers cannot be written: No such file or directory", self.told[0])
        made._folder.mkdir()
        self.fail(us)
        self.assertEqual((made.written, made.lost), (1, 2))
        shutil.rmtree(made._folder)
        self.fail(us)
        self.assertEqual(len(self.told), 2)
        self.assertEmpty(made)

    def test_a_full_disk_leaves_nothing_half_written(self) -> None:
        us, made = self.one()

        def no_room(source: Any, target: Any) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "replace", no_room)
        self.fail(us)
        self.assertEqual((self.files(made), made.lost), ([], 1))
        self.assertIn("No space left on device", self.told[0])

    def test_leftovers_of_a_crash_are_no_obstacle(self) -> None:
        us, made = self.one()
        us.call()
        self.run_for(0.5)
        (account,) = made._accounts.values()
        name = f".20260101T120000Z-{account.begin.session}.json.new"
        (made._folder / name).symlink_to("/dev/full")
        self.run_for(2)
        self.assertEqual([path.name for path in self.files(made)], [name[1:-4]])


class LimitTests(DossierCase):
    def test_of_many_messages_the_first_and_the_last(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        for _ in range(MOST_MESSAGES):
            caller.within("OPTIONS")
            self.run_for(0.001)
        caller.within("BYE")
        self.run_for(2)
        got = self.read(made)
        self.assertEqual(len(got.messages), MOST_MESSAGES)
        self.assertEqual(got.messages_dropped, 5 + MOST_MESSAGES)
        self.assertTrue(got.messages[0].first_line.startswith("INVITE"))
        self.assertTrue(got.messages[-2].first_line.startswith("BYE"))
        self.assertEmpty(made)

    def test_of_large_messages_fewer(self) -> None:
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        for _ in range(30):
            caller.within("OPTIONS", headers=[("X", "x" * 7_000)] * 2)
            self.run_for(0.001)
        (account,) = made._accounts.values()
        self.assertLessEqual(account.messages.size, ROOM)
        self.assertEqual(made._held, account.messages.size)
        caller.within("BYE")
        self.run_for(2)
        got = self.read(made)
        self.assertGreater(got.messages_dropped, 10)
        self.assertLess(sum(each.octets for each in got.messages), ROOM)
        self.assertEmpty(made)

    def test_of_many_events_the_first_and_the_last(self) -> None:
        us, _them = self.pair(ring_and_answer)
        made = self.dossiers(us)
        call = us.call(source=Tone())
        self.run_for(0.5)
        before = len(list(next(iter(made._accounts.values())).events))
        event = us.events[0]
        for _ in range(2 * MOST_EVENTS):
            made.event(type(us.event("MediaActive"))(*[
                event.session, event.call_id, event.role, event.media_state, self.network.now
            ]))  # fmt: skip
        call.hang_up()
        self.run_for(2)
        got = self.read(made)
        self.assertEqual(got.events_dropped, before + 1 + MOST_EVENTS)
        self.assertEqual(got.events[-1].event, "CallEnded")

    def test_all_calls_together(self) -> None:
        self.patch(module, "MOST_HELD", 1_500)
        us = self.party(B, lambda call: call.answer())
        made = self.dossiers(us)
        caller = Caller(self.peer(C))
        caller.established(self)
        caller.within("BYE")
        self.run_for(2)
        got = self.read(made)
        self.assertLess(len(got.messages), 5)
        self.assertEqual(len(got.messages) + got.messages_dropped, 5)
        self.assertEmpty(made)

    def test_calls_that_wait_to_be_written(self) -> None:
        self.patch(module, "MOST_WAITING", 2)
        us = self.party(A)
        self.party(B, lambda call: call.reject(486))
        made = self.dossiers(us, busy=self.slow)
        for _ in range(6):
            us.call()
        self.run_for(1.2)
        self.assertEqual(made.lost, 6 - 2 - 1)
        self.assertIn("more calls end than can be written", self.told[0])
        self.run_for(60)
        self.assertEqual((made.written, made.lost), (3, 3))
        self.assertEmpty(made)

    def slow(self) -> int:
        """A clock on which every step takes as long as may be written at once."""
        self.time += SLICE
        return self.time

    def test_writing_takes_its_share_of_the_time_and_no_more(self) -> None:
        us = self.party(A)
        self.party(B, lambda call: call.reject(486))
        made = self.dossiers(us, busy=self.slow)
        us.call()
        self.run_for(0.9)
        turns = []
        step = made._step

        def counted() -> bool:
            turns.append(self.network.now)
            return step()

        self.patch(made, "_step", counted)
        self.run_for(10)
        self.assertEqual(made.written, 1)
        gaps = [later - now for now, later in pairwise(turns)]
        # One step a turn; it took two readings of that clock.
        self.assertGreaterEqual(min(gaps), max(REST, SHARE * 2 * SLICE))
        self.assertGreater(len(turns), 20)

    def test_quick_steps_share_a_turn(self) -> None:
        us = self.party(A)
        self.party(B, lambda call: call.reject(486))
        made = self.dossiers(us)
        us.call()
        self.run_for(1.1)
        self.assertEqual(made.written, 1)


class ClosingTests(DossierCase):
    def test_calls_that_are_up_are_written(self) -> None:
        us, _them = self.pair(ring_and_answer)
        made = self.dossiers(us)
        call = us.call(source=Tone())
        self.run_for(1)
        made.close()
        got = self.read(made)
        self.assertEqual((got.end, got.ended_at, got.faulty), (None, None, False))
        self.assertEqual(story(got), ">INVITE <180 <200 >ACK")
        call.hang_up()
        self.run_for(2)
        self.assertEqual(len(self.files(made)), 1)
        self.assertEmpty(made)

    def test_only_the_faulty_ones_of_them(self) -> None:
        us, _them = self.pair(ring_and_answer)
        made = self.dossiers(us, only_faulty=True)
        us.call(source=Tone())
        self.run_for(1)
        made.close()
        self.assertEqual(self.files(made), [])

    def test_one_that_is_half_written_is_finished(self) -> None:
        us = self.party(A)
        self.party(B, lambda call: call.reject(486))
        made = self.dossiers(us, busy=lambda: self.time)
        us.call()
        self.run_for(0.9)
        step = made._step
        self.patch(made, "_step", lambda: (step(), setattr(self, "time", self.time + SLICE))[0])
        self.run_for(0.15)
        self.assertIsNotNone(made._writing)
        self.patch(made, "_step", step)
        made.close()
        self.assertEqual(made.written, 1)
        self.assertEmpty(made)

    def test_the_end_does_not_take_long(self) -> None:
        us, _them = self.pair(ring_and_answer)

        def busy() -> int:
            self.time += 100 * MILLISECOND
            return self.time

        made = self.dossiers(us, busy=busy)
        for _ in range(5):
            us.call(source=Tone())
        self.run_for(1)
        made.close()
        self.assertLess(made.written, 5)
        self.assertEqual(made.written + made.lost, 5)
        self.assertEmpty(made)
        self.assertIn("there was no time at the end", self.told[0])
