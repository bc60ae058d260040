"""Where the tests of a module are: in the file of its name, or where the table here says."""

from __future__ import annotations

from typing import Final

__all__ = ["SUITES", "THROUGH", "own_file", "test_files"]

SUITES: Final = {"testing": "testing_kit"}
"""Folders of the package whose tests are in a folder of another name."""

THROUGH: Final = {
    "errors interfaces settings vocabulary": "test_manager.py test_exports.py",
    "watching/notes": "dashboard/test_metrics.py test_docs.py",
    "explaining/audio explaining/calls": "explaining/test_lint.py explaining/test_report.py",
    "explanation": "sdp/test_explanation.py",
    "explaining/seen": "explaining/test_reading.py",
    "media/formats media/interfaces media/lane media/players": "media/test_lanes.py",
    "media/packet_io net/rtp_epoll net/rtp_udp": "net/test_rtp.py",
    "diagnosis/running": "split/test_selftest.py",
    "daemon/command": "test_cli.py",
    "media/limits": "media/test_playout.py",
    "media/reception media/reports media/stream": "media/test_plane.py media/test_plain.py",
    "media/sample_pool media/source_bank": "media/test_sources.py",
    "media/sink_bank": "media/test_sinks.py",
    "net/flows net/sip_port": "net/test_sip_udp.py",
    "net/lateness net/timerfd": "net/test_clockwork.py",
    "net/nameservers net/srv": "net/test_resolver.py",
    "rtp/audio_codec rtp/codecs/g722 rtp/codecs/l16 rtp/codecs/pcma rtp/codecs/pcmu": (
        "rtp/test_codecs.py test_own_codec.py"
    ),
    "sdp/acceptance sdp/authoring sdp/exchange": "sdp/test_negotiation.py",
    "session/acks session/refusals": "session/test_callee.py",
    "session/bodies session/counters session/environment session/ending session/establishing"
    " session/leg session/media_control session/methods session/registry session/tracing": (
        "session/test_coordinator.py session/test_openness.py"
    ),
    "session/dialog_usage": "session/test_early_dialogs.py",
    "session/evidence": "session/test_verdicts.py",
    "session/placing session/requests": "session/test_caller.py",
    "session/unacknowledged": "session/test_strangers.py",
    "sip/client sip/server sip/roles sip/steps": "sip/test_transaction.py",
    "sip/flows": "sip/test_matching.py",
    "sip/keeping sip/keys": "sip/test_matching.py sip/test_shards.py",
    "sip/methods": "sip/test_inspection.py",
    "watching/dossier watching/dossier_account watching/dossier_making": (
        "watching/test_dossiers.py watching/test_dossier_reader.py"
    ),
    "testing/links testing/nat testing/udp": "testing_kit/test_network.py",
    "testing/names": "net/test_resolver.py",
}
"""Modules that are parts of others, and the tests of these."""

_LISTED: Final = {
    module: where.split() for names, where in THROUGH.items() for module in names.split()
}


def own_file(module: str) -> str:
    """The test file of the module's name, relative to the folder of tests."""
    folder, _, name = module.rpartition("/")
    return f"{SUITES.get(folder, folder)}/test_{name}.py".lstrip("/")


def test_files(module: str) -> list[str]:
    """The files, relative to the folder of tests, that test ``module`` (as ``sip/message``)."""
    return _LISTED.get(module, [own_file(module)])
