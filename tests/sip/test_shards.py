"""A dict in parts: that it is a dict, and that no part grows large."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.shards import LAST, Shards
from tests.sip.samples import modest
from tests.sip.test_matching import Bench, request, response

keys = st.one_of(st.none(), st.binary(max_size=2))
steps = st.lists(st.tuples(st.sampled_from(("set", "del", "pop", "get")), keys), max_size=60)


class ShardsTests(SynchronousTestCase):
    @modest
    @given(steps)
    def test_as_a_dict(self, taken: list[tuple[str, bytes | None]]) -> None:
        parts: Shards[int] = Shards()
        one: dict[bytes | None, int] = {}
        for number, (step, key) in enumerate(taken):
            if step == "set":
                parts[key] = one[key] = number
            elif step == "pop":
                self.assertEqual(parts.pop(key), one.pop(key, None))
            elif step == "del" and key in one:
                del parts[key], one[key]
            elif step == "del":
                self.assertRaises(KeyError, parts.__delitem__, key)
            self.assertEqual(parts.get(key), one.get(key))
            self.assertEqual(key in parts, key in one)
            self.assertEqual(key in parts.parts[hash(key) & LAST], key in one)
            self.assertEqual(len(parts), len(one))
        self.assertEqual(dict(parts.items()), one)
        parts.clear()
        self.assertEqual((len(parts), list(parts.items())), (0, []))

    def test_no_part_grows_large(self) -> None:
        parts: Shards[None] = Shards()
        for number in range(350_000):
            # Keys of one peer, as much alike as keys can be.
            parts[b"INVITE z9hG4bK-1-%d-0 192.0.2.1:5060 1 %d@192.0.2.1" % (number, number)] = None
        self.assertEqual(len(parts), 350_000)
        self.assertLess(max(map(len, parts.parts)), 8_000)


class LayerTests(SynchronousTestCase):
    """Whatever is finished is kept in parts."""

    CALLS = 2_000

    def largest(self, layer: Any) -> int:
        """The entries of the largest dict or set of the layer's."""
        found = 0
        for held in vars(layer).values():
            if isinstance(held, dict | set):
                found = max(found, len(held))
            elif isinstance(held, Shards):
                found = max(found, *map(len, held.parts))
        return found

    def test_requests_of_others(self) -> None:
        bench = Bench()
        bench.user.answers[b"INVITE"] = [200]
        for number in range(self.CALLS):
            bench.receive(request(b"INVITE", call_id=b"%d" % number))
        self.assertEqual(bench.layer.remembered, self.CALLS)
        self.assertEqual(len(bench.layer._merged), self.CALLS)
        self.assertLess(self.largest(bench.layer), 100)

    def test_requests_of_ours(self) -> None:
        bench = Bench()
        for _ in range(self.CALLS):
            bench.receive(response(bench.invite(), 200))
            bench.receive(response(bench.send(b"BYE"), 200))
        self.assertEqual(len(bench.layer._lingering), self.CALLS)
        self.assertEqual(len(bench.layer._absorbing), self.CALLS)
        self.assertLess(self.largest(bench.layer), 100)
