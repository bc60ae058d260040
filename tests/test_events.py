"""Events are values: nobody who is told of one can change it for the others."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.vocabulary import EndedBy, EndReason
from sessioncore.watching.outcome import CallSummary, RunEnded

KINDS: list[Any] = [*(getattr(events, name) for name in events.__all__), CallSummary, RunEnded]


class EventTests(SynchronousTestCase):
    def test_frozen_equal_and_hashable(self) -> None:
        for kind in KINDS:
            fields = [field.name for field in attrs.fields(kind)]
            self.assertEqual(fields[:5], ["session", "call_id", "role", "media_state", "at"])
            event, same, other = kind(*fields), kind(*fields), kind("another", *fields[1:])
            self.assertEqual((event.name, event), (kind.__name__, same))
            self.assertEqual({event: 1}[same], 1)
            self.assertNotEqual(event, other)
            for field in (*fields, "anything"):
                with self.assertRaises(attrs.exceptions.FrozenInstanceError):
                    setattr(event, field, "changed")
            self.assertEqual([getattr(event, field) for field in fields], fields)

    def test_a_reason_that_was_printed_is_the_same_reason(self) -> None:
        told, untold = (EndReason(EndedBy.REMOTE, "busy", 486, 17) for _ in range(2))
        self.assertEqual(str(told), "remote 486: busy (Q.850 17)")
        self.assertEqual((told, hash(told), repr(told)), (untold, hash(untold), repr(untold)))
        self.assertEqual(str(attrs.evolve(told, text="gone")), "remote 486: gone (Q.850 17)")
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            told.text = "changed"  # type: ignore[misc]
