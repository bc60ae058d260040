"""``twistd sessioncore``: every option, what it makes, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.collector import Collector
from sessioncore.daemon.options import Options, makeService
from sessioncore.daemon.outputs import OutputPlan
from sessioncore.daemon.reports import ReportPlan
from sessioncore.daemon.service import Lines, UacPlan, UacService, UasPlan, UasService
from sessioncore.media.hearing import ExpectedTones
from sessioncore.media.sources import Echo, Silence, Tone
from tests.daemon.test_answering import wav_file


def parsed(*arguments: str, nodaemon: bool | None = None) -> Options:
    options = Options()
    if nodaemon is not None:
        options.parent = {"nodaemon": nodaemon, "debug": False}
    options.parseOptions(list(arguments))
    return options


def uas(*arguments: str) -> Any:
    plan = parsed("--role=uas", *arguments).plan
    assert isinstance(plan, UasPlan)
    return plan


def uac(*arguments: str) -> Any:
    plan = parsed("--role=uac", "--call=sip:bob@192.0.2.1", *arguments).plan
    assert isinstance(plan, UacPlan)
    return plan


class ServerOptionsTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        plan = uas()
        self.assertEqual(plan.settings.listen, ("udp:5060",))
        self.assertEqual(plan.settings.rtp_ports, (40000, 49999))
        self.assertEqual(plan.settings.codecs, ("PCMU", "PCMA"))
        self.assertEqual(plan.answer.source, Echo())
        self.assertEqual(
            (plan.answer.after, plan.answer.record_dir, plan.events), (0.0, None, None)
        )

    def test_all(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        plan = uas(
            "--listen=udp:5070:interface=127.0.0.1",
            *("--listen", r"udp:5070:interface=\:\:1"),
            "--answer=tone:440+350",
            "--answer-after=1.5",
            f"--record-dir={directory}",
            "--rtp-ports=20000-20999",
            "--media-ip=192.0.2.9",
            "--advertise=192.0.2.8",
            "--codecs=PCMA,L16",
            "--max-calls=7",
            "--trusted-sources=192.0.2.0/24,2001:db8::/32",
            "--ring-limit=30",
            "--peer-timeout=0",
            "--nat=yes",
            "--events=events.jsonl",
            "--trace=sip.txt",
            "--pcap=sip.pcapng",
            "--hep=udp:192.0.2.9:id=7",
            "--cdr=cdr.jsonl",
            "--dossier=dossiers",
            "--dossier-for=all",
        )
        settings = plan.settings
        self.assertEqual(
            settings.listen, ("udp:5070:interface=127.0.0.1", r"udp:5070:interface=\:\:1")
        )
        self.assertEqual(settings.rtp_ports, (20000, 20999))
        self.assertEqual((settings.media_ip, settings.advertise), ("192.0.2.9", "192.0.2.8"))
        self.assertEqual(settings.peer_timeout, 0)
        self.assertEqual(settings.trusted_sources, ("192.0.2.0/24", "2001:db8::/32"))
        self.assertEqual((settings.codecs, settings.max_calls), (("PCMA", "L16"), 7))
        self.assertEqual(settings.ring_limit, 30)
        self.assertIs(settings.nat, True)
        self.assertEqual(plan.answer.source, Tone(frequencies=(440.0, 350.0)))
        self.assertEqual(plan.answer.after, 1.5)
        # twistd changes the directory when it forks.
        self.assertEqual(plan.answer.record_dir, os.path.abspath(directory))
        self.assertEqual(plan.events, os.path.abspath("events.jsonl"))
        self.assertEqual(
            plan.outputs,
            OutputPlan(
                trace=os.path.abspath("sip.txt"),
                pcap=os.path.abspath("sip.pcapng"),
                hep=Collector("192.0.2.9", agent=7),
                cdr=os.path.abspath("cdr.jsonl"),
                dossier=os.path.abspath("dossiers"),
                only_faulty=False,
            ),
        )

    def test_files_are_read_before_the_fork(self) -> None:
        wav_file("announcement.wav")
        self.addCleanup(os.remove, "announcement.wav")
        self.assertEqual(len(uas("--answer=play:announcement.wav").answer.source.samples), 800)


class ClientOptionsTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        plan = uac()
        self.assertEqual(plan.settings.listen, ("udp:0",))
        self.assertEqual(plan.calls.uris, ("sip:bob@192.0.2.1",))
        self.assertEqual(plan.calls.source, Silence())
        self.assertEqual((plan.calls.duration, plan.calls.calls), (10.0, 1))

    def test_all(self) -> None:
        plan = uac(
            "--from=sip:alice@192.0.2.2",
            "--play=tone:440",
            "--record=heard.wav",
            "--duration=2.5",
            "--calls=100",
            "--rate=12.5",
            "--events=-",
            "--listen=udp:5062:interface=127.0.0.1",
        )
        calls = plan.calls
        self.assertEqual(calls.from_uri, "sip:alice@192.0.2.2")
        self.assertEqual(calls.source, Tone(frequencies=(440.0,)))
        self.assertEqual(calls.record, os.path.abspath("heard.wav"))
        self.assertEqual((calls.duration, calls.calls, calls.rate), (2.5, 100, 12.5))
        self.assertEqual(plan.events, "-")
        self.assertEqual(plan.settings.listen, ("udp:5062:interface=127.0.0.1",))

    def test_packet_length(self) -> None:
        self.assertEqual([uac().settings.ptime, uac("--ptime=40").settings.ptime], [20, 40])

    def test_what_is_expected(self) -> None:
        self.assertIsNone(uac().calls.expect)
        self.assertEqual(uac("--expect=tone:1000").calls.expect, ExpectedTones((1000.0,)))
        wide = uac("--expect=tone:5000", "--codecs=G722,PCMU").calls
        self.assertEqual(wide.expect, ExpectedTones((5000.0,)))

    def test_reports(self) -> None:
        self.assertEqual(uac().reports, ReportPlan())
        plan = uac("--json=run.json", "--junit=run.xml").reports
        self.assertEqual(
            plan, ReportPlan(json=os.path.abspath("run.json"), junit=os.path.abspath("run.xml"))
        )

    def test_a_file_lasts_as_long_as_it_is(self) -> None:
        plan = uac("--play", wav_file(self.mktemp(), 12000))
        self.assertEqual(plan.calls.duration, 1.5)

    def test_no_limit(self) -> None:
        self.assertIsNone(uac("--duration=0").calls.duration)


CALL = "--role=uac --call=sip:b@h"
LONG = "/tmp/" + "a" * 300


class WrongOptionsTests(SynchronousTestCase):
    """Each message names the bad value and says what to write."""

    def says(self, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, parsed, *arguments))

    def test_messages(self) -> None:
        for arguments, says in {
            "": "--role is missing; write --role=uas or --role=uac",
            "--role=proxy": "--role 'proxy' is unknown; write --role=uas or --role=uac",
            "--role=uac": "--role=uac needs a URI to call; write e.g. --call sip:",
            "--role=uas --call=sip:bob@192.0.2.1": (
                "--call is not an option of --role=uas; leave it out"
            ),
            "--role=uac --call=sip:b@h --answer=echo": "--answer is not an option of --role=uac",
            "--role=uas --bogus=1": "option --bogus not recognized",
            "--role=uas --listen=tcp:5060": "--listen: cannot listen on 'tcp:5060'",
            "--role=uas --listen=udp:99999": "--listen: cannot listen on 'udp:99999'",
            "--role=uas --listen=udp:5060:interface=here": "interface=here is not an IP address",
            "--role=uas --ring-limit=0": "--ring-limit: 0 s is out of range; give more than 0",
            "--role=uas --ring-limit=99999": "and at most 86400",
            "--role=uas --ring-limit=ever": "--ring-limit: 'ever' is not a number of seconds",
            "--role=uas --answer-after=9 --ring-limit=8": "a call ends after 8 s of ringing",
            "--role=uas --answer=sing": "'sing' is unknown; write echo",
            "--role=uas --answer=play:/no/such.wav": "/no/such.wav",
            "--role=uas --answer-after=soon": "'soon' is not a number of seconds; write e.g. 2.5",
            "--role=uas --record-dir=/dev/null/x": (
                "--record-dir: /dev/null/x cannot be written: /dev/null is not a folder;"
            ),
            f"--role=uas --record-dir={LONG}": "File name too long; name a folder that you may",
            "--role=uas --rtp-ports=4000": "'4000' is not a range; write e.g. 40000-49999",
            "--role=uas --rtp-ports=9000-8000": "--rtp-ports: 9000-8000 is not usable; give",
            "--role=uas --rtp-ports=40001-40002": (
                "--rtp-ports: 40001-40002 is not usable: RTP takes an even port and RTCP the next"
                " one; give for example 40000-40003"
            ),
            "--role=uas --media-ip=here": "--media-ip: 'here' is not an IP address; give for",
            "--role=uas --advertise=0.0.0.0": "--advertise: 0.0.0.0 is not the address of one",
            "--role=uas --codecs=G729": (
                "--codecs: G729 cannot be used; choose from PCMU, PCMA, G722, L16"
            ),
            "--role=uas --nat=maybe": "'maybe' is unknown; write auto, yes or no",
            "--role=uas --trusted-sources=": (
                "--trusted-sources: '' lacks a network; write e.g. 192.0.2.0/24,2001:db8::/32"
            ),
            "--role=uas --trusted-sources=192.0.2.0/24,": "'192.0.2.0/24,' lacks a network",
            "--role=uas --events=": "--events: the name is empty; name a file, or leave it out",
            "--role=uas --stats=": "--stats: the name is empty; name a file",
            "--role=uas --record-dir=": "--record-dir: the name is empty; name a folder",
            "--role=uac --call=sip:b@h --record=": "--record: the name is empty; name a file",
            "--role=uac --call=sip:b@h --rate=fast": "'fast' is not a number of calls per second",
            "--role=uas --trusted-sources=192.0.2.1/24": (
                "--trusted-sources: 192.0.2.1/24 has host bits set; give networks such as"
            ),
            "--role=uas --max-calls=0": "'0' is not a whole number above 0; write 1 or more",
            "--role=uas --max-calls=many": "'many' is not a whole number above 0; write 1 or more",
            "--role=uas --events=/no/such/file": (
                "--events: /no/such/file cannot be written: No such file or directory (/no/such);"
                " name a file in a folder that you may write to"
            ),
            "--role=uas --events=/tmp": "--events: /tmp cannot be written: Is a directory",
            f"--role=uas --events={LONG}": "File name too long; name a file",
            "--role=uas --trace=/no/such/file": "--trace: /no/such/file cannot be written: No such",
            "--role=uas --pcap=/no/such/file": "--pcap: /no/such/file cannot be written: No such",
            "--role=uas --pcap=-": "--pcap -: packets are not for standard output; name a file",
            "--role=uas --hep=tcp:h": "--hep: cannot send to 'tcp:h': write for example udp:",
            "--role=uas --cdr=/no/such/file": "--cdr: /no/such/file cannot be written: No such",
            "--role=uas --cdr=- --events=-": "--cdr -: --events - has standard output to itself",
            "--role=uas --dossier=/dev/null/x": "--dossier: /dev/null/x cannot be written: /dev/nu",
            "--role=uas --dossier=/tmp --dossier-for=some": (
                "--dossier-for: 'some' is unknown; write faulty or all"
            ),
            "--role=uas --dossier-for=all": (
                "--dossier-for all: there is no folder; name one with --dossier"
            ),
            "--role=uas --trace=- --events=-": (
                "--trace -: --events - has standard output to itself; name a file for one of them"
            ),
            "--role=uas --expect=speech": "--expect is not an option of --role=uas",
            f"{CALL} --expect=music": "--expect: 'music' is unknown; write tone:HZ",
            f"{CALL} --expect=tone:5000": "5000 Hz cannot be recognized at 8000 Hz",
            f"{CALL} --json=/no/such/file": "--json: /no/such/file cannot be written: No such",
            f"{CALL} --junit=/no/such/file": "--junit: /no/such/file cannot be written: No such",
            f"{CALL} --ptime=30": "--ptime: 30 is not usable; give 20, 40 or 60 ms",
            f"{CALL} --junit=-": "--junit -: only --json can go to standard output; name a file",
            f"{CALL} --json=-": "--json -: twistd writes to standard output, too; name a file",
            f"{CALL} --json=": "--json: the name is empty",
            "--role=uas --stats=/no/such/file": "--stats: /no/such/file cannot be written: No such",
            "--role=uac --call=bob": "'bob' is not a SIP URI",
            "--role=uac --call=tel:123": "write",
            "--role=uac --call=sip:b@h?Subject=x": "leave out the question mark and the text",
            "--role=uac --call=sip:b@h;transport=tcp": "there is no such transport, only UDP",
            "--role=uac --call=sip:é@h": "is not a SIP URI",
            "--role=uac --call=sip:b@h --from=alice": "--from: 'alice' is not a SIP URI",
            "--role=uac --call=sip:b@h --play=/no/such.wav": "/no/such.wav",
            "--role=uac --call=sip:b@h --duration=long": "'long' is not a number of seconds",
            "--role=uac --call=sip:b@h --rate=0": "--rate: 0 would place no calls",
            "--role=uac --call=sip:b@h --calls=-1": "'-1' is not a whole number above 0",
            "--role=uac --call=sip:b@h --record=/dev/null/x/x.wav": (
                "--record: /dev/null/x cannot be written: /dev/null is not a folder"
            ),
            f"--role=uac --call=sip:b@h --record={LONG}": "--record: ",
        }.items():
            self.assertIn(says, self.says(*arguments.split()), arguments)

    def test_a_folder_without_permission_is_named_with_its_option_and_the_reason(self) -> None:
        """As it is for whoever is not root, for whom nothing is forbidden."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.patch(os, "access", lambda path, mode: not str(path).startswith(str(folder)))
        for role, option, name in (
            ("uas", "events", "e.jsonl"),
            ("uas", "stats", "s.json"),
            ("uas", "trace", "t.txt"),
            ("uas", "pcap", "p.pcapng"),
            ("uas", "cdr", "c.jsonl"),
            ("uas", "dossier", "dossiers"),
            ("uas", "record-dir", "heard"),
            ("uas", "record-dir", ""),
            ("uac --call=sip:b@h", "record", "heard.wav"),
            ("uac --call=sip:b@h", "record", "new/heard.wav"),
        ):
            says = self.says(f"--role={role.split()[0]}", *role.split()[1:],
                             f"--{option}={folder / name}")  # fmt: skip
            self.assertRegex(says, rf"^--{option}: {folder}.*: Permission denied for {folder};")
        (folder / "there").touch()
        says = self.says("--role=uas", f"--events={folder / 'there'}")
        self.assertIn("there cannot be written: Permission denied; name", says)

    def test_a_folder_that_may_not_be_entered_is_named_with_its_option_and_the_reason(self) -> None:
        def exists(path: Path) -> bool:
            raise PermissionError(13, "Permission denied", str(path))

        self.patch(Path, "exists", exists)
        for option in ("events", "stats", "record-dir"):
            says = self.says("--role=uas", f"--{option}=/root/x")
            self.assertIn(f"--{option}: /root/x cannot be written: Permission denied; name", says)

    def test_a_folder_for_recordings_that_is_missing_is_no_error(self) -> None:
        folder = Path(self.mktemp()).absolute()
        plan = parsed("--role=uas", f"--record-dir={folder / 'a' / 'b'}").plan
        self.assertEqual(plan.answer.record_dir, str(folder / "a" / "b"))
        plan = parsed("--role=uac", "--call=sip:b@h", f"--record={folder / 'a' / 'x.wav'}").plan
        self.assertEqual(plan.calls.record, str(folder / "a" / "x.wav"))
        self.assertFalse(folder.exists(), "made at start, not before the fork")

    def test_what_calls_must_have(self) -> None:
        for given, least in (
            ((), 0.95),
            (("--min-received=90%",), 0.9),
            (("--min-received=7",), 0.07),
        ):
            plan = uac(*given).calls
            self.assertEqual((plan.min_received, plan.require_proof), (least, False))
        plan = uac("--require-proof").calls
        self.assertTrue(plan.require_proof)
        for text in ("101%", "-1", "all", "", "95%%", "1_0"):
            error = self.assertRaises(UsageError, uac, f"--min-received={text}")
            self.assertIn(f"--min-received: {text!r} is not a share; write 0% to 100%", str(error))

    def test_arguments_without_an_option(self) -> None:
        self.assertIn("'echo' is not an option", self.says("--role=uas", "echo"))

    def test_one_line(self) -> None:
        """After an error the usage is a pointer; asked for, it is whole."""
        options = Options()
        self.assertRaises(UsageError, options.parseOptions, ["--role=proxy"])
        self.assertEqual(options.getUsage(), "See `twistd sessioncore --help`.")
        self.assertIn("--rtp-ports=", Options().getUsage())

    def test_a_daemon_has_no_standard_output(self) -> None:
        for option in ("events", "trace", "cdr"):
            wrong = f"--{option}=-"
            error = self.assertRaises(UsageError, parsed, "--role=uas", wrong, nodaemon=False)
            self.assertIn(f"--{option} -: a daemon has no standard output; name a", str(error))
        self.assertEqual(parsed("--role=uas", "--events=-", nodaemon=True).plan.events, "-")
        self.assertEqual(parsed("--role=uas", "--trace=-", nodaemon=True).plan.outputs.trace, "-")


class UriTests(SynchronousTestCase):
    def test_user_at_host_is_a_sip_uri(self) -> None:
        for text in ("bob@192.0.2.1", "bob@192.0.2.1:5070", "bob@h;transport=udp", "+49@[::1]"):
            plan = parsed("--role=uac", f"--call={text}", f"--from={text}").plan
            self.assertEqual(plan.calls.uris, (f"sip:{text}",))
            self.assertEqual(plan.calls.from_uri, f"sip:{text}")

    def test_other_schemes_are_not_hidden_by_that(self) -> None:
        for text in ("mailto:bob@h", "tel:123", "bob", "sips:bob@h"):
            self.assertRaises(UsageError, parsed, "--role=uac", f"--call={text}")


class WebOptionTests(SynchronousTestCase):
    def test_nothing_is_served_by_default(self) -> None:
        self.assertEqual((uas().web, uac().web), ((), ()))

    def test_what_is_served(self) -> None:
        path = Path(self.mktemp())
        path.write_text("0123456789abcdef\n")
        for plan in (uas, uac):
            (metrics, dashboard) = plan(
                *("--dashboard=tcp:8080", "--metrics=tcp:9100:interface=0.0.0.0"),
                f"--web-token={path}",
            ).web
            self.assertEqual((metrics.option, metrics.shows_calls), ("--metrics", False))
            self.assertEqual((dashboard.option, dashboard.shows_calls), ("--dashboard", True))
            self.assertEqual(metrics.endpoint.description, "tcp:9100:interface=0.0.0.0")
            self.assertEqual((metrics.token, dashboard.token), ("0123456789abcdef",) * 2)

    def test_what_is_wrong(self) -> None:
        for arguments, says in {
            ("--dashboard=8080",): "--dashboard: '8080' is not an endpoint",
            ("--metrics=tcp:http",): "--metrics: 'http' in",
            ("--metrics=tcp:1:interface=0.0.0.0",): "--metrics: other machines can reach",
            ("--web-token=missing",): "--web-token: nothing is served",
            ("--metrics=tcp:1", "--web-token=missing"): "--web-token: missing cannot be read",
        }.items():
            with self.assertRaises(UsageError) as caught:
                uas(*arguments)
            self.assertIn(says, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))


class LogOptionTests(SynchronousTestCase):
    def lines(self, *arguments: str, foreground: bool = True) -> Lines:
        return parsed("--role=uas", *arguments, nodaemon=foreground).lines()

    def test_what_is_written_if_nothing_is_said(self) -> None:
        self.assertEqual(self.lines(), Lines("events", to_log=False))
        self.assertEqual(self.lines(foreground=False), Lines("calls", to_log=True))
        self.assertEqual(self.lines("--events=-"), Lines("quiet"))
        self.assertEqual(parsed("--role=uas").lines(), Lines("events"))

    def test_what_is_asked_for(self) -> None:
        for which in ("events", "calls", "quiet"):
            for foreground in (True, False):
                lines = self.lines(f"--log={which}", foreground=foreground)
                self.assertEqual(lines, Lines(which, to_log=not foreground))  # type: ignore[arg-type]
        self.assertEqual(self.lines("--log=quiet", "--events=-"), Lines("quiet"))

    def test_what_is_wrong(self) -> None:
        for arguments, says in (
            (("--log=all",), "--log: 'all' is unknown; write events, calls or quiet"),
            (("--log=calls", "--events=-"), "name a file for --events, or write --log quiet"),
        ):
            error = self.assertRaises(UsageError, parsed, "--role=uas", *arguments)
            self.assertIn(says, str(error))


class MakeServiceTests(SynchronousTestCase):
    def test_the_service_of_the_role(self) -> None:
        hook = self.patch_excepthook()
        self.assertIsInstance(makeService(parsed("--role=uas")), UasService)
        self.assertIsInstance(makeService(parsed("--role=uac", "--call=sip:b@h")), UacService)
        self.assertIsNot(hook, None)

    def patch_excepthook(self) -> object:
        import sys

        self.patch(sys, "excepthook", sys.excepthook)
        return sys.excepthook
