"""Training: labelled photos in, weights out. Needs the extra ``train``."""

from __future__ import annotations
