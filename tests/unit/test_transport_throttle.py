"""The limit for each client address: bursts, refill, subscribers of IPv6, bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.throttle import Throttle

_A, _B = "192.0.2.1", "192.0.2.2"


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _admitted(throttle: Throttle, address: str, tries: int) -> int:
    return sum(throttle.wait(address) == 0.0 for _ in range(tries))


def test_burst_of_ten_passes_whatever_the_rate_and_the_next_is_told_to_wait() -> None:
    clock = _Clock()
    throttle = Throttle(0.5, clock)
    assert _admitted(throttle, _A, 10) == 10
    assert throttle.wait(_A) == pytest.approx(2.0)


def test_one_request_is_admitted_after_the_time_that_was_told() -> None:
    clock = _Clock()
    throttle = Throttle(0.5, clock)
    _admitted(throttle, _A, 10)
    clock.now += throttle.wait(_A)
    assert _admitted(throttle, _A, 5) == 1


def test_refused_requests_cost_nothing() -> None:
    clock = _Clock()
    throttle = Throttle(1.0, clock)
    _admitted(throttle, _A, 1000)
    assert throttle.wait(_A) == pytest.approx(1.0)


def test_addresses_do_not_disturb_each_other() -> None:
    throttle = Throttle(1.0, _Clock())
    _admitted(throttle, _A, 100)
    assert _admitted(throttle, _B, 100) == 10


def test_high_rate_admits_a_second_of_it_at_once() -> None:
    assert _admitted(Throttle(100.0, _Clock()), _A, 1000) == 100


def test_addresses_of_one_ipv6_network_count_together_and_mapped_ones_as_ipv4() -> None:
    throttle = Throttle(1.0, _Clock())
    assert sum(_admitted(throttle, f"2001:db8:0:1::{n:x}", 1) for n in range(1, 30)) == 10
    assert _admitted(throttle, "2001:db8:0:2::1%eth0", 20) == 10
    assert _admitted(throttle, f"::ffff:{_A}", 5) == 5
    assert _admitted(throttle, _A, 20) == 5


def test_memory_is_bounded_and_the_longest_silent_address_is_forgotten() -> None:
    throttle = Throttle(1.0, _Clock(), most_addresses=2)
    for address in (_A, _B):
        _admitted(throttle, address, 10)
    throttle.wait("192.0.2.3")
    assert len(throttle) == 2
    assert throttle.wait(_B) > 0.0
    assert throttle.wait(_A) == 0.0


@settings(max_examples=50)
@given(st.lists(st.floats(0.0, 3.0), max_size=60), st.floats(0.5, 20.0))
def test_no_pattern_of_requests_gets_more_than_rate_and_burst(pauses: list[float], rate: float) -> None:
    clock = _Clock()
    throttle = Throttle(rate, clock)
    admitted = 0
    for pause in pauses:
        clock.now += pause
        admitted += throttle.wait(_A) == 0.0
    assert admitted <= max(rate, 10) + rate * sum(pauses) + 1e-6


@given(st.text())
def test_any_text_is_an_address(text: str) -> None:
    assert Throttle(1.0, _Clock()).wait(text) == 0.0
