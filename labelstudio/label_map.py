"""Which label maps to which class of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskbridge.labelstudio.label_config import Label


def label_map(labels: Sequence[Label], class_names: Sequence[str]) -> dict[str, str]:
    """Maps class names of the model to labels, as results carry them. Classes without a label are not in the map.

    A label maps to the class with exactly its name; else to the classes in its ``predicted_values``; else to the class with
    its name in another case. If several labels map to one class, it gets the first of them, in this order of rules.

    Args:
        labels: the labels of one control tag.
        class_names: the model's class names, without the background.

    Example:
        >>> label_map([Label("Person", "Person"), Label("pet", "pet", ("cat", "dog"))], ["person", "cat", "dog", "car"])
        {'cat': 'pet', 'dog': 'pet', 'person': 'Person'}
    """
    names = set(class_names)
    folded: dict[str, list[str]] = {}
    for name in class_names:
        folded.setdefault(name.casefold(), []).append(name)
    mapping: dict[str, str] = {}

    def exactly(label: Label) -> list[str]:
        return [name for name in (label.value, label.result_name) if name in names]

    def as_listed(label: Label) -> list[str]:
        values = label.predicted_values
        return [name for value in values for name in ([value] if value in names else folded.get(value.casefold(), []))]

    def in_any_case(label: Label) -> list[str]:
        return [name for text in (label.value, label.result_name) for name in folded.get(text.casefold(), [])]

    mapped: set[Label] = set()
    for rule in (exactly, as_listed, in_any_case):
        matches = [(label, rule(label)) for label in labels if label not in mapped]
        for label, matching_names in matches:
            for name in matching_names:
                mapping.setdefault(name, label.result_name)
            if matching_names:
                mapped.add(label)
    return mapping


def unmapped_labels(labels: Sequence[Label], mapping: Mapping[str, str]) -> list[str]:
    """The labels that map to no class, by their ``value``; ``mapping`` is the `label_map` of these labels."""
    return [label.value for label in labels if label.result_name not in mapping.values()]
