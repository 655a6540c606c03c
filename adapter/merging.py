"""Several instances of one image as one, such as those of two models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from maskbridge.adapter.instances import Instances


def merge(parts: Sequence[Instances]) -> Instances:
    """The objects of several instances of one image, in order (see `Instances.merge`).

    Raises:
        ValueError: there are no parts, or they are for images of different sizes.

    Example:
        >>> merge([Instances.empty((9, 9), ["__background__"]), Instances.empty((9, 8), ["__background__"])])
        Traceback (most recent call last):
        ValueError: instances to merge are of one image size, not [(9, 8), (9, 9)]
    """
    sizes = sorted({part.size for part in parts})
    if len(sizes) != 1:
        raise ValueError(f"instances to merge are of one image size, not {sizes}")
    names = tuple(dict.fromkeys(name for part in parts for name in part.class_names))
    filled = [part for part in parts if len(part)]
    scores = [part.scores for part in filled if part.scores is not None]
    ids = [part.ids for part in filled if part.ids is not None]
    attributes = [part.attributes if part.attributes is not None else ({},) * len(part) for part in filled]
    return Instances(
        size=sizes[0],
        boxes=np.concatenate([np.zeros((0, 4), dtype=np.float32), *(part.boxes for part in filled)]),
        labels=np.asarray([names.index(name) for part in filled for name in part.names], dtype=np.int64),
        class_names=names,
        masks=tuple(mask for part in filled for mask in part.masks),
        scores=np.concatenate(scores) if filled and len(scores) == len(filled) else None,
        ids=tuple(chain(*ids)) if filled and len(ids) == len(filled) else None,
        attributes=tuple(chain(*attributes)) if any(part.attributes is not None for part in filled) else None,
    )
