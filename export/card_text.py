"""The card of a version as a text for people."""

import fractions
from collections.abc import Mapping
from typing import Any

from lsrs_tf.evaluation import markdown_table, rounded_down
from lsrs_tf.records.schema import UNKNOWN

# Longer lists are in the JSON file alone.
_LONG = 50
_SECTIONS = (
    "dataset",
    "architecture",
    "class_names",
    "measured",
    "measured_with_other_settings",
    "input",
    "encoded_images",
    "certificates",
    "margin_certificates",
)
UNITS = {
    "images": "pixels in [0, 1]; of `decode` -1 in all pixels of a refused row",
    "image_bytes": "a JPEG, PNG or BMP file",
    "latents": "latent, as from `encode`",
    "seed": "any; anyone who knows it can fit an image to the noise",
    "n": "noisy samples; to be chosen before an answer is seen",
    "alpha": "probability that the certificate is wrong; to be chosen before an answer is seen",
    "radius": "L2, in units of pixels in [0, 1]; rounded down where it is an answer",
    "label": "index of the class; -1 abstains",
    "votes": "noisy samples that voted for each class",
    "p_lower": "lower bound of the probability of the selected class, also where it abstains",
    "samples": "noisy samples taken; 0 where the row was refused",
    "robust": "whether the label holds up to the radius",
    "logits": "without noise",
    "margin": "logit of the label less that of the class that limits the radius; 0 if it abstains",
}


def markdown_card(card: Mapping[str, Any]) -> str:
    """Returns the text of a card.

    Args:
        card: dict of JSON values, see `export.model_card.write_model_card`.
    """
    lines = [f"# {card['name']}", ""]
    for key in _SECTIONS:
        if key not in card:
            continue
        lines += [f"## {key.replace('_', ' ').capitalize()}", ""]
        lines += (
            [measurements_table(card[key]), ""] if "measured" in key else [*_lines(card[key]), ""]
        )
    lines += ["## Signatures", "", _signature_table(card["signatures"])]
    tensors = {
        name
        for signature in card["signatures"].values()
        for side in ("inputs", "outputs")
        for name in signature[side]
    }
    units = [f"- `{name}`: {unit}" for name, unit in UNITS.items() if name in tensors]
    lines += ["Units:", "", *units, ""]
    if card["needs_xla"]:
        lines += ["The server must have XLA switched on.", ""]
    lines += [f"Fingerprint of the model: `{card['fingerprint']}`.", ""]
    lines += [f"Made with {', '.join(f'{k} {v}' for k, v in card['versions'].items())}.", ""]
    return "\n".join(lines)


def _signature_table(signatures):
    rows = []
    for name, tensors in signatures.items():
        sides = (
            "; ".join(
                f"`{tensor}` {about['dtype']} {about['shape']}"
                for tensor, about in tensors[side].items()
            ).replace("None", "B")
            for side in ("inputs", "outputs")
        )
        rows.append([name, *sides])
    return markdown_table(["signature", "inputs", "outputs"], rows)


def measurements_table(measured: Mapping[str, Any]) -> str:
    """Returns a table of what was measured, rounded down, and one of the settings of it."""
    of_margins = measured.get("settings", {}).get("method") == "margin"
    rows = [
        ["certified classifier", "base, without noise" if of_margins else "smoothed"],
        ["test images", _text(measured.get("images", "unknown"))],
    ]
    for radius, share in measured.get("certified_accuracy", {}).items():
        rows.append([f"certified accuracy at radius {radius}", _percent(share)])
    if "clean_accuracy" in measured:
        rows.append(
            [
                "accuracy" if of_margins else "accuracy without noise (no certificate)",
                _percent(measured["clean_accuracy"]),
            ]
        )
    if "abstained" in measured:
        # Rounded up, as what is certified is rounded down.
        certain = rounded_down(100 - 100 * fractions.Fraction(str(measured["abstained"])), 1)
        rows.append(["abstentions", f"{float(100 - fractions.Fraction(certain)):.1f} %"])
    if "average_certified_radius" in measured:
        radius = rounded_down(measured["average_certified_radius"], 3)
        rows.append(["average certified radius (ACR)", radius])
    table = markdown_table(["measurement", "value"], rows)
    # Settings of other methods have no value.
    settings = [
        [name.replace("_", " "), _text(value)]
        for name, value in measured.get("settings", {}).items()
        if value not in (None, UNKNOWN)
    ]
    if not settings:
        return table
    used = markdown_table(["setting", "value"], settings)
    return f"{table}\nSettings of these measurements:\n\n{used}"


def _percent(share):
    return f"{rounded_down(100 * fractions.Fraction(str(share)), 1)} %"


def _lines(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"- {key.replace('_', ' ')}: {_text(entry)}" for key, entry in value.items()]
    return [_text(value)]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list) and len(value) > _LONG:
        return f"{len(value)} from {value[0]} to {value[-1]}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
