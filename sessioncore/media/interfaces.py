"""What an application implements to supply or take the audio of one call frame by frame.

Both are called once per 20 ms and call, in the media tick: return quickly, do not block.
An attribute ``rate`` of the object, if it has one, says at how many Hz its samples are: 8000
(as without it), 16,000 or 48,000.  Where the call's rate is another, they are converted.
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
        """The next ``count`` samples as int16; fewer are filled up with silence.

        None means that the source has come to its end: it is not asked again.
        """


class IMediaSink(Interface):
    """Takes what a call hears."""

    def write(samples: npt.NDArray[np.int16]) -> None:
        """The next samples as int16; the array is the sink's to keep."""
