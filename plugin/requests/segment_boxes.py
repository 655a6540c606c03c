"""The parameters of ``segment_boxes``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maskbridge.adapter.validation import Fraction
from maskbridge.plugin.requests.base import FieldName, RunRequest


class SegmentBoxesRequest(RunRequest):
    """A run of ``segment_boxes``.

    Attributes:
        label_field: the detections whose boxes get masks.
        new_field: the field that the labels with masks are written to; None for the same field.
        only_missing: leaves existing masks as they are.
        mask_threshold: pixels of at least this probability are in a mask.
        num_workers: processes that read images; 0 to read them in this one.
    """

    new_field: FieldName | None = None
    only_missing: bool = True
    mask_threshold: Fraction = 0.5
    num_workers: Annotated[int, Field(ge=0, le=64)] = 0

    @property
    def written_field(self) -> str:
        return self.new_field or self.label_field
