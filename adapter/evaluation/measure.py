"""The predictions of a model, or of any other source, measured against labels."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, LabeledImage, SkippedImage
from maskbridge.adapter.datasets.readable import size_problem
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.evaluation.scores import Evaluator, Kind, Scores
from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.adapter.mask_rcnn import MaskRCNN


@dataclass(frozen=True)
class Evaluation:
    """Labels, predictions, and COCO's scores.

    Attributes:
        class_names: the classes that were measured, without the background.
        not_measured: classes of the labels that were not.
        scores: for ``boxes``, and for ``masks`` where labels have any.
        images: the images' names.
        objects: labels that were measured, without crowds.
        labels: each image's labels.
        predictions: each image's predictions.
        skipped_images: images that could not be read, or are not of the size that their labels are for.
    """

    class_names: tuple[str, ...]
    not_measured: tuple[str, ...]
    scores: dict[Kind, Scores]
    images: tuple[str, ...]
    objects: int
    labels: Sequence[LabeledImage] = field(repr=False)
    predictions: Sequence[LabeledImage] = field(repr=False)
    skipped_images: tuple[SkippedImage, ...] = ()

    @property
    def main(self) -> Scores:
        """The scores of masks where labels have any, else of boxes."""
        return self.scores.get("masks", self.scores["boxes"])

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the twelve numbers and the table of classes, of boxes and of masks, and each image's matches."""
        return {
            "images": len(self.images),
            "objects": self.objects,
            "classes": list(self.class_names),
            "classes_not_measured": list(self.not_measured),
            **{
                kind: {"numbers": dict(scores.numbers), "per_class": {k: dict(v) for k, v in scores.per_class.items()}}
                for kind, scores in self.scores.items()
            },
            "per_image": [{"image": name, **matches} for name, matches in zip(self.images, self.main.matches)],
            "skipped_images": [asdict(image) for image in self.skipped_images],
        }

    def worst(self, count: int) -> list[int]:
        """Indices of the images with the most mistakes (false negatives and false positives), worst first."""
        mistakes = [matches["false_negatives"] + matches["false_positives"] for matches in self.main.matches]
        order = sorted(range(len(mistakes)), key=lambda index: -mistakes[index])
        return [index for index in order if mistakes[index]][:count]


def evaluate(
    model: MaskRCNN, images: LabeledDataset, *, class_names: Sequence[str] | None = None, strict: bool = False
) -> Generator[int, None, Evaluation]:
    """Measures a model by COCO's rules: an iterator over the number of images done, which ends in the `Evaluation`.

    Detections are those of `MaskRCNN.predict` with its defaults (scores above 0.05, at most 100 in an image), as
    torchvision's published figures are measured.

    Args:
        model: the model.
        images: labeled images, crowds marked by the attribute ``iscrowd``.
        class_names: what to measure; by default the classes that both the labels and the model have.
        strict: whether an image that cannot be used is an error; by default it is skipped.

    Raises:
        DataError: there is nothing to measure.
        ImageError: with ``strict``, an image cannot be read or is not of the size that its labels are for.
    """
    common = [name for name in images.class_names if name in model.class_names]
    predictions = model.predict_each([image.image for image in images])
    return measure(images, predictions, common if class_names is None else class_names, strict=strict)


def measure(
    images: LabeledDataset,
    predictions: Iterable[Instances | ImageError],
    class_names: Sequence[str],
    *,
    strict: bool = False,
) -> Generator[int, None, Evaluation]:
    """Like `evaluate`, for existing predictions: each image's instances with scores, or why it has none.

    Example:
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> from maskbridge.adapter.long_jobs import run_to_end
        >>> cat = Instances((20, 30), [[2, 3, 12, 13]], [1], ("__background__", "cat"), [None])
        >>> perfect = Instances((20, 30), [[2, 3, 12, 13]], [1], ("__background__", "cat"), [None], scores=[0.9])
        >>> evaluation = run_to_end(measure(labeled_images([("a.jpg", cat)]), [perfect], ["cat"]))
        >>> round(evaluation.main.numbers["AP50"], 3)
        1.0
    """
    names = tuple(name for name in class_names if name != BACKGROUND)
    evaluator, measured, predicted, skipped, masks = Evaluator(names), [], [], [], 0
    label_names = {name for image in images for name in image.instances.names}
    if not label_names & set(names):
        raise DataError(
            f"nothing to measure: no label is of the classes {', '.join(names) or '(none)'}; "
            f"the labels are {', '.join(sorted(label_names)[:12]) or '(none)'}"
        )
    for done, (image, instances) in enumerate(zip(images, predictions), start=1):
        if not isinstance(instances, ImageError) and (problem := size_problem(instances.size, image.size)):
            instances = ImageError(problem)
        if isinstance(instances, ImageError):
            if strict:
                raise ImageError(instances.reason, path=image.name)
            skipped.append(SkippedImage(image.name, instances.reason, len(image)))
        else:
            truth = image.instances
            evaluator.add(truth, instances)
            measured.append(image)
            predicted.append(LabeledImage.of(image.image, instances, image.name))
            masks += sum(mask is not None for mask in truth.masks)
        yield done
    if not measured:
        raise DataError(f"nothing to measure: none of the {len(images)} images can be used ({skipped[0].reason})")
    kinds: list[Kind] = ["boxes", "masks"] if masks else ["boxes"]
    scores = {kind: evaluator.scores(kind) for kind in kinds}
    return Evaluation(
        class_names=names,
        not_measured=tuple(sorted(label_names - set(names))),
        scores=scores,
        images=tuple(image.name for image in measured),
        objects=int(sum(counts["objects"] for counts in scores["boxes"].per_class.values())),
        labels=tuple(measured),
        predictions=tuple(predicted),
        skipped_images=tuple(skipped),
    )
