"""What changes for the clients of a server when a version is added to its folder."""

import pathlib

from export.model_card import OWN_DTYPE, read_model_card
from export.version_numbers import numbers_in

# What clients may rely on.
_PROMISED = ("sigma", "n0", "n", "alpha", "noise", "head_dtype", "predict_n", "max_n")
# What cards of earlier versions do not say.
_BEFORE = {"head_dtype": OWN_DTYPE}


def versions_before(version: pathlib.Path) -> list[int]:
    """Returns the numbers of the versions in the same folder that are older, ascending.

    Args:
        version: folder of a version.
    """
    return [number for number in numbers_in(version.parent) if number < int(version.name)]


def changes_from_version_before(version: pathlib.Path) -> list[str]:
    """Returns what clients of a server should know of a new version, as a list of texts.

    Args:
        version: folder of the new version.
    """
    before = versions_before(version)
    old = read_model_card(version.parent / str(before[-1])) if before else None
    new = read_model_card(version)
    if old is None or new is None:
        return []
    changes = [
        f"{name.replace('_', ' ')} {before}, now {now}"
        for name, before, now in _promises(old, new)
        if before != now
    ]
    rules = [card.get("encoded_images", {}).get("resize") for card in (old, new)]
    if None not in rules and rules[0] != rules[1]:
        changes.append(f"encoded images with resize {rules[0]}, now {rules[1]}")
    missing = sorted(set(old["signatures"]) - set(new["signatures"]))
    if missing:
        changes.append(f"signatures that are gone: {', '.join(missing)}")
    answers = [card["signatures"]["serving_default"]["outputs"] for card in (old, new)]
    if set(answers[0]) != set(answers[1]):
        changes.append(f"serving_default with {_names(answers[0])}, now {_names(answers[1])}")
    return changes


def _promises(old, new):
    """Yields (name, value before, value now) of what clients may rely on."""
    if "certificates" in old and "certificates" in new:
        both = [card["certificates"] for card in (old, new)]
        for name in _PROMISED:
            yield name, *(settings.get(name, _BEFORE.get(name)) for settings in both)
    for name in ("input", "classes"):
        yield name, old[name], new[name]


def _names(outputs):
    return ", ".join(sorted(outputs))
