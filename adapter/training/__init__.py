"""Training: labeled images in, weights out. Needs the extra ``train``."""

from __future__ import annotations
