"""Sources of labeled images: a COCO file, a FiftyOne dataset, a Label Studio project or its export."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskbridge.adapter.errors import MaskbridgeError

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset

Coco = Annotated[Path | None, typer.Option(help="A COCO annotation file.")]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of the images of a COCO file or an export.  \\[default: images beside it, or its folder]"),
]
Split = Annotated[str | None, typer.Option(help="Only images of this split: COCO's 'split', FiftyOne's tag.")]
FiftyOne = Annotated[str | None, typer.Option("--fiftyone", help="The name of a FiftyOne dataset.")]
Field = Annotated[str, typer.Option(help="The field of the FiftyOne dataset that holds the labels.")]
LabelStudioProject = Annotated[
    int | None, typer.Option("--label-studio", help="The id of a Label Studio project (address and token as in serve).")
]
LabelStudioExport = Annotated[Path | None, typer.Option(help="A JSON export of a Label Studio project.")]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of labels: exactly one of ``coco``, ``fiftyone``, ``label_studio`` and ``export`` is set."""

    coco: Path | None = None
    images: Path | None = None
    fiftyone: str | None = None
    field: str = "ground_truth"
    label_studio: int | None = None
    export: Path | None = None

    def __post_init__(self) -> None:
        sources = [value for value in (self.coco, self.fiftyone, self.label_studio, self.export) if value is not None]
        if len(sources) != 1:
            raise MaskbridgeError("name one source of labels: --coco, --fiftyone, --label-studio or --label-studio-export")

    def read(self, split: str | None = None) -> LabeledDataset:
        """The labeled images; those of one split, or all.

        Raises:
            MaskbridgeError: the images or labels cannot be read.
        """
        if self.coco is not None:
            from maskbridge.adapter.datasets.coco_dataset import read_coco

            return read_coco(self.coco, self.images, split=split)
        if self.fiftyone is not None:
            os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")
            from maskbridge.plugin.datasets import labeled_dataset, open_dataset

            dataset = open_dataset(self.fiftyone)
            return labeled_dataset(dataset if split is None else dataset.match_tags(split), self.field)
        if split is not None:
            raise MaskbridgeError("Label Studio has no splits: omit --split; part of the images is kept for validation")
        if self.export is not None:
            from maskbridge.labelstudio.exports import read_export

            return read_export(self.export, self.images)
        from maskbridge.labelstudio.project import read_project
        from maskbridge.labelstudio.settings import label_studio_settings

        return read_project(int(self.label_studio or 0), label_studio_settings())
