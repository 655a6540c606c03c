"""Which label of a project means which class of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskbridge.backend.label_config import Label


def label_map(labels: Sequence[Label], class_names: Sequence[str]) -> dict[str, str]:
    """For each class that a label means the label, as results carry it.

    A label means the class of exactly its name; else those that its ``predicted_values`` name; else the class of its name
    without regard to case. A class belongs to the first label that means it, in this order.

    Args:
        labels: of one tag.
        class_names: the model's, without the background.

    Example:
        >>> label_map([Label("Person", "Person"), Label("pet", "pet", ("cat", "dog"))], ["person", "cat", "dog", "car"])
        {'cat': 'pet', 'dog': 'pet', 'person': 'Person'}
    """
    known = set(class_names)
    folded: dict[str, list[str]] = {}
    for name in class_names:
        folded.setdefault(name.casefold(), []).append(name)
    found: dict[str, str] = {}

    def exactly(label: Label) -> list[str]:
        return [name for name in (label.value, label.shown) if name in known]

    def as_listed(label: Label) -> list[str]:
        values = label.predicted_values
        return [name for value in values for name in ([value] if value in known else folded.get(value.casefold(), []))]

    def in_any_case(label: Label) -> list[str]:
        return [name for text in (label.value, label.shown) for name in folded.get(text.casefold(), [])]

    meaning: set[Label] = set()
    for rule in (exactly, as_listed, in_any_case):
        chosen = [(label, rule(label)) for label in labels if label not in meaning]
        for label, names in chosen:
            for name in names:
                found.setdefault(name, label.shown)
            if names:
                meaning.add(label)
    return found


def without_class(labels: Sequence[Label], found: Mapping[str, str]) -> list[str]:
    """The labels that mean no class, for people to read."""
    return [label.value for label in labels if label.shown not in found.values()]
