"""The counters of a running daemon in a small file, written again every few seconds."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final

from attrs import asdict
from twisted.logger import Logger

from sessioncore.vocabulary import SessionRole

if TYPE_CHECKING:
    from sessioncore.manager import ManagerStatistics

__all__ = ["StatsFile"]

_log: Final = Logger(namespace="sessioncore.daemon.stats")


class StatsFile:
    """One JSON object in the file ``name``, replaced as a whole, so that no reader sees half."""

    def __init__(self, name: str, role: SessionRole) -> None:
        self._name = name
        self._role = role
        self._failing = False

    def write(self, statistics: ManagerStatistics, lines_lost: int) -> None:
        """Write the counters; a failure is logged once per outage and the calls go on."""
        record = {
            "t": round(time.time(), 3),
            "role": self._role.value,
            **asdict(statistics),
            "lines_lost": lines_lost,
        }
        beside = f"{self._name}.new"
        try:
            with open(beside, "w", encoding="ascii") as file:
                file.write(json.dumps(record, indent=1) + "\n")
            os.replace(beside, self._name)
        except OSError as error:
            if not self._failing:
                _log.error(
                    "--stats {name}: {reason}; name a file in a folder that can be written to",
                    name=self._name,
                    reason=error.strerror,
                )
            self._failing = True
        else:
            self._failing = False
