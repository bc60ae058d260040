"""What an application implements to supply or take the audio of one call frame by frame.

Both are called once per 20 ms and call, in the media tick: return quickly, do not block.
An object that raises is detached, counted and reported; the call goes on in silence.
For audio that is simply there, `Clip`, `Tone`, `Echo`, `Frames` and `Record` cost far less.
"""

# zope.interface methods have neither self nor a body.
# mypy: disable-error-code="empty-body"
from __future__ import annotations

import numpy as np
import numpy.typing as npt
from zope.interface import Interface

__all__ = ["IMediaSink", "IMediaSource"]


class IMediaSource(Interface):
    """Supplies what a call sends."""

    def read(count: int) -> npt.NDArray[np.int16] | None:
        """The next ``count`` samples at 8000 Hz as int16; fewer are filled up with silence.

        None means that the source has come to its end: it is asked no more.
        """


class IMediaSink(Interface):
    """Takes what a call hears."""

    def write(samples: npt.NDArray[np.int16]) -> None:
        """The next samples at 8000 Hz as int16; the array is the sink's to keep."""
