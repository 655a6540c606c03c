"""The parameters of ``segment_boxes``."""

from __future__ import annotations

from dataclasses import dataclass

from maskbridge.plugin.requests.base import RunRequest, field_name_problem, fraction_problem, whole_number_problem


@dataclass(frozen=True, kw_only=True)
class SegmentBoxesRequest(RunRequest):
    """A run of ``segment_boxes``.

    Attributes:
        label_field: the detections whose boxes get masks.
        new_field: the field that the labels with masks are written to; None for the same field.
        only_missing: leaves existing masks as they are.
        mask_threshold: pixels of at least this probability are in a mask.
        num_workers: processes that read images; 0 to read them in this one.
    """

    new_field: str | None = None
    only_missing: bool = True
    mask_threshold: float = 0.5
    num_workers: int = 0

    @property
    def written_field(self) -> str:
        return self.new_field or self.label_field

    def _checks(self) -> dict[str, str | None]:
        return {
            "label_field": None if self.label_field else "the field with the boxes is needed",
            "new_field": field_name_problem(self.new_field) if self.new_field else None,
            "mask_threshold": fraction_problem(self.mask_threshold),
            "num_workers": whole_number_problem(self.num_workers, 0, 64),
        }
