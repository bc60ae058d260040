"""What all commands of ``sessioncore`` share."""

from __future__ import annotations

import getopt
from typing import Any, ClassVar

from twisted.python import usage

from sessioncore.daemon.options import Quiet
from sessioncore.settings import Settings

__all__ = ["Said", "WithWords"]


class Said(Quiet):
    """What all commands print about themselves."""

    synopsis: ClassVar[str]

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return f"Usage: {self.synopsis}"

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(Settings().user_agent)
        raise SystemExit(0)


class WithWords(Said):
    """A command that takes words, before or after its options."""

    def parseOptions(self, options: Any = None) -> None:
        """Parse; options may stand before and after the words."""
        try:
            given, words = getopt.gnu_getopt(list(options), self.shortOpt, self.longOpt)
        except getopt.GetoptError as error:
            self.failed = True
            raise usage.UsageError(str(error)) from None
        flags = {f"--{name}" for name in self.longOpt}  # the others end in "="
        flat = [name if name in flags else f"{name}={value}" for name, value in given]
        super().parseOptions([*flat, "--", *words])
