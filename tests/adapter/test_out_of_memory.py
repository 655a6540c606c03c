"""A batch that does not fit into a GPU's memory. A stand-in raises its error, since tests run on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import torch

from maskbridge.adapter import ImageError
from maskbridge.adapter.engines import out_of_memory
from maskbridge.adapter.engines.out_of_memory import in_halves


def network(limit: int, batches: list[int]) -> object:
    """A stand-in for a network that runs at most this many pixels at once."""

    def predict(images: Sequence[torch.Tensor]) -> list[int]:
        batches.append(len(images))
        if sum(image.numel() for image in images) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [image.numel() for image in images]

    return predict


def test_the_batch_is_halved_and_that_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    out_of_memory._log_once.cache_clear()
    batches: list[int] = []
    images = [torch.zeros(3, 2, size) for size in range(1, 9)]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert in_halves(network(100, batches), images) == [6 * size for size in range(1, 9)]  # type: ignore[arg-type]
    assert batches[:3] == [8, 4, 4]
    (record,) = caplog.records
    assert "predicted in halves" in record.getMessage()


def test_an_image_that_does_not_fit_alone_fails_alone() -> None:
    images = [torch.zeros(3, 2, 2), torch.zeros(3, 20, 30), torch.zeros(3, 2, 2)]
    small, large, last = in_halves(network(100, []), images)  # type: ignore[arg-type]
    assert (small, last) == (12, 12)
    assert isinstance(large, ImageError)
    assert "too small for this image of 30 x 20 pixels" in large.reason
