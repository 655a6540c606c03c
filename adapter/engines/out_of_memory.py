"""A batch that does not fit into a GPU's memory is predicted in halves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import torch

from maskbridge.adapter.errors import ImageError

R = TypeVar("R")
log = logging.getLogger(__name__)


def in_halves(
    predict: Callable[[Sequence[torch.Tensor]], Sequence[R]], images: Sequence[torch.Tensor]
) -> list[R | ImageError]:
    """The results of a batch. If the GPU's memory is exhausted, those of its halves, and so on; this is logged once.

    An image that does not fit alone gives an `ImageError`.

    Example:
        >>> in_halves(lambda batch: [len(batch)] * len(batch), [torch.zeros(1)] * 3)
        [3, 3, 3]
    """
    try:
        return list(predict(images))
    except torch.cuda.OutOfMemoryError:
        pass  # outside of the handler the failed batch's tensors are freed
    torch.cuda.empty_cache()
    if len(images) == 1:
        height, width = images[0].shape[-2:]
        return [ImageError(f"the GPU's memory is too small for this image of {width} x {height} pixels")]
    _log_once()
    half = len(images) // 2
    return in_halves(predict, images[:half]) + in_halves(predict, images[half:])


@cache
def _log_once() -> None:
    log.warning("the GPU's memory is too small for a batch: it is predicted in halves; choose a smaller batch_size")
