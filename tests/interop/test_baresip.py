"""baresip as caller and callee: audio both ways, heard on the recordings of both.

With G.711, and with G.722, where the tones lie above what 8000 samples a second can carry.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import wave
from pathlib import Path

from sessioncore.media.wave import read_wav
from sessioncore.testing.tones import sine
from tests.interop.peers import HOST, PeerTestCase, require, tone_in
from tests.split.processes import PATIENCE, free_port

MODULES = Path("/usr/lib/baresip/modules")


class BaresipTests(PeerTestCase):
    """One baresip with a 440 Hz file as its microphone; we play 1000 Hz."""

    codec, account_codec = "PCMU", "pcmu"
    rate = 8000
    theirs, ours = 440, 1000

    def setUp(self) -> None:
        super().setUp()
        self.program = require("baresip", "baresip-core")
        self.port = free_port()
        # baresip cuts the paths of its configuration at 128 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="bs"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.configure()

    def configure(self) -> None:
        for name in ("conf", "baresip", "heard"):
            (self.folder / name).mkdir()
        with wave.open(str(self.folder / "tone.wav"), "wb") as file:
            file.setparams((1, 2, self.rate, 0, "NONE", ""))
            tone = sine(float(self.theirs), 30.0, rate=self.rate)
            file.writeframes(tone.astype("<i2").tobytes())
        modules = ("g711", "g722", "aufile", "aubridge", "sndfile")
        lines = [
            f"sip_listen {HOST}:{self.port}",
            f"net_interface {HOST}",
            "rtp_ports 30000-31000",
            f"module_path {MODULES}",
            *(f"module {name}.so" for name in modules),
            "module_tmp account.so",
            "module_app menu.so",
            f"audio_source aufile,{self.folder}/tone.wav",
            "audio_player aubridge,null",
            "audio_alert aubridge,null",
            f"snd_path {self.folder}/baresip",
        ]
        (self.folder / "conf/config").write_text("\n".join(lines) + "\n")
        account = f"<sip:bob@{HOST}:{self.port};transport=udp>;regint=0;answermode=auto"
        (self.folder / "conf/accounts").write_text(f"{account};audio_codecs={self.account_codec}\n")
        (self.folder / "conf/contacts").touch()

    def end(self, baresip: subprocess.Popen[bytes]) -> None:
        """Have it hang up and leave; only then are its recordings whole."""
        baresip.terminate()
        self.assertEqual(baresip.wait(PATIENCE), 0, self.said())

    def check_we_heard(self, path: Path) -> None:
        """What we recorded is baresip's tone, at the rate of the codec."""
        self.assertEqual(read_wav(path).rate, self.rate)
        report = tone_in(path, float(self.theirs))
        self.assertGreaterEqual(report.fraction_present, 0.95, str(report))

    def check_baresip_heard(self) -> None:
        """What baresip decoded is our tone.  Its file starts with the call's first packet."""
        (path,) = (self.folder / "baresip").glob("*-dec.wav")
        report = tone_in(path, float(self.ours))
        self.assertGreaterEqual(report.fraction_present, 0.95, f"{path.name}: {report}")

    def test_baresip_calls(self) -> None:
        server, port = self.serve(
            f"--answer=tone:{self.ours}", "--record-dir=heard", f"--codecs={self.codec}"
        )
        call = f"/dial sip:us@{HOST}:{port}"
        baresip = self.background(self.program, "-f", self.folder / "conf", "-e", call)
        self.until("audio both ways", lambda: self.so_far("MediaActive"))
        time.sleep(4)
        self.end(baresip)
        self.until("the call's end", lambda: self.so_far("CallEnded"))
        self.stop(server)
        (heard,) = (self.folder / "heard").iterdir()
        self.check_we_heard(heard)
        self.check_baresip_heard()

    def test_we_call_baresip(self) -> None:
        baresip = self.background(self.program, "-f", self.folder / "conf")
        self.until_bound(self.port)
        call = self.command(
            *("call", f"sip:bob@{HOST}:{self.port}", f"--listen=udp:0:interface={HOST}"),
            *(f"--play=tone:{self.ours}", "--record=heard.wav", "--duration=3"),
            f"--codecs={self.codec}",
        )
        self.assertEqual(call.wait(), 0, call.output)
        self.end(baresip)
        self.check_we_heard(self.folder / "heard.wav")
        self.check_baresip_heard()


class WidebandTests(BaresipTests):
    """The same with G.722: both tones lie above the 4000 Hz that G.711 ends at."""

    codec, account_codec = "G722", "g722/16000"
    rate = 16_000
    theirs, ours = 5500, 6500
