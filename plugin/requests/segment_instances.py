"""The parameters of ``segment_instances``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskbridge.plugin.requests.base import (
    RunRequest,
    choice_problem,
    field_name_problem,
    fraction_problem,
    whole_number_problem,
)

EXISTING = ("replace", "skip", "stop")
MASKS = ("database", "folder", "polylines")


@dataclass(frozen=True, kw_only=True)
class SegmentInstancesRequest(RunRequest):
    """A run of ``segment_instances``.

    Attributes:
        label_field: the field that the labels are written to.
        existing: what happens to samples that have the field: ``"replace"`` it, ``"skip"`` them (which resumes an
            interrupted run), or ``"stop"`` before anything is done.
        classes: names of the classes to detect; None for all.
        confidence: objects with a score above it are detected.
        mask_threshold: pixels of at least this probability are in a mask.
        max_detections: maximum number of objects in an image.
        masks: ``"database"``, ``"folder"`` for PNGs below ``mask_folder``, or ``"polylines"`` instead of detections.
        mask_folder: an absolute path; each field has a folder of its own in it.
        batch_size: images that are read and run together.
        num_workers: processes that read images; 0 to read them in this one.
    """

    label_field: str = "instances"
    existing: str = "replace"
    classes: tuple[str, ...] | None = None
    confidence: float = 0.5
    mask_threshold: float = 0.5
    max_detections: int = 100
    masks: str = "database"
    mask_folder: str | None = None
    batch_size: int = 1
    num_workers: int = 0

    def _checks(self) -> dict[str, str | None]:
        absolute = self.mask_folder is not None and Path(self.mask_folder).is_absolute()
        return {
            "confidence": fraction_problem(self.confidence),
            "mask_threshold": fraction_problem(self.mask_threshold),
            "max_detections": whole_number_problem(self.max_detections, 1, 1000),
            "batch_size": whole_number_problem(self.batch_size, 1, 256),
            "num_workers": whole_number_problem(self.num_workers, 0, 64),
            "existing": choice_problem(self.existing, EXISTING),
            "masks": choice_problem(self.masks, MASKS),
            "label_field": field_name_problem(self.label_field),
            "mask_folder": None if absolute or self.masks != "folder" else f"an absolute path, not {self.mask_folder!r}",
        }
