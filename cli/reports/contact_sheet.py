"""Several pictures as one."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

GAP = 8


def contact_sheet(pictures: Sequence[Image.Image], *, columns: int, cell: tuple[int, int] = (480, 360)) -> Image.Image:
    """Pictures side by side on white, each scaled down to fit a cell, in rows from the top left.

    Args:
        pictures: at least one.
        columns: the number of pictures in a row.
        cell: width and height of a cell in pixels.

    Example:
        >>> contact_sheet([Image.new("RGB", (640, 480))] * 6, columns=3).size
        (1456, 728)
    """
    rows = -(-len(pictures) // columns)
    width, height = cell
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for index, picture in enumerate(pictures):
        small = picture.convert("RGB")
        small.thumbnail(cell, Image.Resampling.LANCZOS)
        left, top = (index % columns) * (width + GAP), (index // columns) * (height + GAP)
        sheet.paste(small, (left + (width - small.width) // 2, top + (height - small.height) // 2))
    return sheet
