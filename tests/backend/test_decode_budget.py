"""How much of decoded images is in memory at the same time."""

from __future__ import annotations

import threading

import pytest

from maskbridge.backend.inference.decode_budget import DecodeBudget
from waiting import wait_for


@pytest.mark.parametrize(
    ("budget", "pixels"),
    [(DecodeBudget(max_pixels=10, max_images=9), 8), (DecodeBudget(max_pixels=100, max_images=1), 1)],
    ids=["pixels", "images"],
)
def test_threads_wait_until_there_is_room(budget: DecodeBudget, pixels: int) -> None:
    events: list[str] = []
    budget.acquire(pixels)

    def second() -> None:
        budget.acquire(pixels)
        events.append("acquired")

    thread = threading.Thread(target=second)
    thread.start()
    wait_for(lambda: events or budget._changed._waiters)  # it waits, or a budget that is always open let it through
    events.append("released")
    budget.release(pixels)
    thread.join()
    assert events == ["released", "acquired"]


def test_an_image_larger_than_the_budget_passes_alone() -> None:
    budget = DecodeBudget(max_pixels=10, max_images=9)
    budget.acquire(1000)
    budget.release(1000)
    budget.acquire(1000)
