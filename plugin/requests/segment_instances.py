"""The parameters of ``segment_instances``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from maskbridge.adapter.confidence import DEFAULT, confidence_of
from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.validation import Fraction
from maskbridge.plugin.requests.base import FieldName, RunRequest

Existing = Literal["replace", "skip", "stop"]
Masks = Literal["database", "folder", "polylines"]


def _class_confidence(text: str) -> str:
    """Checks pairs of class and threshold; a number alone is ``confidence``'s."""
    try:
        pairs = confidence_of(text).by_class
    except SettingsError as error:
        raise ValueError(str(error).removeprefix("confidence_threshold is ")) from None
    return ",".join(f"{name}={value:g}" for name, value in pairs)


class SegmentInstancesRequest(RunRequest):
    """A run of ``segment_instances``.

    Attributes:
        label_field: the field that the labels are written to.
        existing: what happens to samples that have the field: ``"replace"`` it, ``"skip"`` them (which resumes an
            interrupted run), or ``"stop"`` before anything is done.
        classes: names of the classes to detect; None for all.
        confidence: objects with a score above it are detected, 0 to 1.
        class_confidence: another threshold for some classes, such as ``"person=0.6,dog=0.4"``.
        mask_threshold: pixels of at least this probability are in a mask.
        max_detections: maximum number of objects in an image.
        masks: ``"database"``, ``"folder"`` for PNGs below ``mask_folder``, or ``"polylines"`` instead of detections.
        mask_folder: an absolute path; each field has a folder of its own in it.
        batch_size: images that are read and run together.
        num_workers: processes that read images; 0 to read them in this one.
    """

    label_field: FieldName = "instances"
    existing: Existing = "replace"
    classes: tuple[str, ...] | None = None
    confidence: Fraction = DEFAULT
    class_confidence: Annotated[str, AfterValidator(_class_confidence)] | None = None
    mask_threshold: Fraction = 0.5
    max_detections: Annotated[int, Field(ge=1, le=1000)] = 100
    masks: Masks = "database"
    mask_folder: Annotated[str | None, Field(validate_default=True)] = None
    batch_size: Annotated[int, Field(ge=1, le=256)] = 1
    num_workers: Annotated[int, Field(ge=0, le=64)] = 0

    @field_validator("mask_folder")
    @classmethod
    def _absolute(cls, folder: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("masks") == "folder" and not (folder and Path(folder).is_absolute()):
            raise ValueError(f"an absolute path, not {folder!r}")
        return folder
