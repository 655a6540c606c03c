"""What a run over a dataset is asked to do: the same for the App's form, a delegated run and a call from a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from maskbridge.adapter.errors import SettingsError, nearest

EXISTING = ("replace", "skip", "stop")
MASKS = ("database", "folder", "polylines")


@dataclass(frozen=True, kw_only=True)
class SegmentRequest:
    """A run of ``segment_instances``.

    Attributes:
        label_field: where the labels go.
        weights: for `maskbridge.adapter.MaskRCNN`.
        existing: what happens to samples that have the field: ``"replace"`` it, ``"skip"`` them (so that a broken run goes
            on where it stopped), or ``"stop"`` before anything is done.
        classes: names to look for; None for all.
        confidence: objects with a score above it are found.
        mask_threshold: pixels of at least this probability are in a mask.
        max_detections: most objects in a photo.
        masks: ``"database"``, ``"folder"`` for PNGs below ``mask_folder``, or ``"polylines"`` instead of detections.
        mask_folder: an absolute path; each field has a folder of its own in it.
        batch_size: photos that are read and run together.
        num_workers: processes that read photos; 0 to read them in this one.
        device: such as ``"cpu"``; None for a GPU where there is one.
    """

    label_field: str = "instances"
    weights: str = "DEFAULT"
    existing: str = "replace"
    classes: tuple[str, ...] | None = None
    confidence: float = 0.5
    mask_threshold: float = 0.5
    max_detections: int = 100
    masks: str = "database"
    mask_folder: str | None = None
    batch_size: int = 1
    num_workers: int = 0
    device: str | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> SegmentRequest:
        """From an operator's parameters; those that are missing, None or empty have their defaults.

        Raises:
            SettingsError: a value is out of range or of a wrong type.
        """
        for name, problem in cls.problems_of(params).items():
            raise SettingsError(f"{name}: {problem}")
        return cls(**cls._given(params))

    @classmethod
    def from_options(cls, **options: Any) -> SegmentRequest:
        """From keyword arguments; unlike in `from_params` an unknown name is an error."""
        check_names(cls, options)
        return cls.from_params(options)

    @classmethod
    def problems_of(cls, params: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with which of an operator's parameters."""
        return cls(**cls._given(params)).problems()

    @classmethod
    def _given(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        names = [field.name for field in fields(cls)]
        given = {name: params[name] for name in names if params.get(name) not in (None, "", [], ())}
        return given | ({"classes": tuple(given["classes"])} if "classes" in given else {})

    def problems(self) -> dict[str, str]:
        """What is wrong with which value; empty if nothing is."""
        found = {
            "confidence": fraction_problem(self.confidence),
            "mask_threshold": fraction_problem(self.mask_threshold),
            "max_detections": whole_number_problem(self.max_detections, 1, 1000),
            "batch_size": whole_number_problem(self.batch_size, 1, 256),
            "num_workers": whole_number_problem(self.num_workers, 0, 64),
            "existing": _choice_problem(self.existing, EXISTING),
            "masks": _choice_problem(self.masks, MASKS),
            "label_field": field_name_problem(self.label_field),
        }
        if self.masks == "folder" and (self.mask_folder is None or not Path(self.mask_folder).is_absolute()):
            found["mask_folder"] = f"an absolute path, not {self.mask_folder!r}"
        return {name: problem for name, problem in found.items() if problem is not None}

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self) | {"classes": None if self.classes is None else list(self.classes)}


def check_names(request: type, options: Mapping[str, Any]) -> None:
    """Refuses options that a request has no field for.

    Raises:
        SettingsError: one is unknown; the nearest is named.
    """
    names = [field.name for field in fields(request)]
    for name in options:
        if name not in names:
            raise SettingsError(f"unknown option {name!r}: {nearest(name, names, show=len(names))}")


def fraction_problem(value: object) -> str | None:
    """What is wrong with a number that should be from 0 to 1, None if nothing is."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
    return None if good else f"a number from 0 to 1, not {value!r}"


def whole_number_problem(value: object, least: int, most: int) -> str | None:
    """What is wrong with a number that should be whole (1.0 is, as the App sends it) and in a range."""
    good = (
        isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1 and least <= value <= most
    )
    return None if good else f"a whole number from {least} to {most}, not {value!r}"


def field_name_problem(name: object) -> str | None:
    """What is wrong with the name of a field that may be made."""
    good = isinstance(name, str) and name.replace("_", "a").isalnum() and name[0].isalpha()
    return None if good else f"{name!r} is no field name: letters, digits and underscores"


def _choice_problem(value: object, allowed: tuple[str, ...]) -> str | None:
    return None if value in allowed else f"unknown: {nearest(str(value), allowed)}"
