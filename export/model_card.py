"""What a version is, for people and for programs: `assets.extra/model_card.json` and `.md`."""

import fractions
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.saved_model_file import read_signatures
from export.signatures import Signatures
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.evaluation import markdown_table, rounded_down
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.records.schema import UNKNOWN
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.version import __version__

# Of a head that is not cast.
OWN_DTYPE = "own"
# Longer lists are in the JSON file alone.
_LONG = 50
_SECTIONS = (
    "dataset",
    "architecture",
    "class_names",
    "measured",
    "measured_with_other_settings",
    "input",
    "certificates",
    "margin_certificates",
)
_UNITS = {
    "images": "pixels in [0, 1]",
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


def write_model_card(
    version: pathlib.Path,
    model: LatentSmoothingModel,
    description: Mapping[str, Any],
    xla: bool,
    about: Mapping[str, Any],
    name: str,
) -> None:
    """Writes the card of a version.

    Args:
        version: folder of the SavedModel.
        model: the `LatentSmoothingModel`.
        description: dict of what is served: `smoothed_description`, `margin_description`, or
            both.
        xla: bool, whether passes of the head are compiled.
        about: dict of what else there is to tell, JSON values only.
        name: str, the model's name on a server.
    """
    folder = version / "assets.extra"
    folder.mkdir(exist_ok=True)
    card = {
        "name": name,
        **about,
        **description,
        "signatures": {
            signature: {"inputs": _tensors(tensors.inputs), "outputs": _tensors(tensors.outputs)}
            for signature, tensors in sorted(read_signatures(version).items())
        },
        "needs_xla": xla,
        "fingerprint": fingerprint(model),
        "versions": {
            "lsrs-tf": __version__,
            **{package: importlib.metadata.version(package) for package in ("tensorflow", "keras")},
        },
    }
    (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n")
    (folder / "model_card.md").write_text(_markdown(card))


def smoothed_description(certifier: Certifier, signatures: Signatures) -> dict[str, Any]:
    """Returns what the card tells of a smoothed classifier.

    Args:
        certifier: the `Certifier` of an export.
        signatures: the `Signatures` of an export.
    """
    classifier = certifier.classifier
    return {
        **_input_and_classes(classifier),
        "certificates": {
            "sigma": classifier.radius_scale.sigma,
            "n0": certifier.settings.n0,
            "n": certifier.settings.n,
            "alpha": certifier.settings.alpha,
            "noise": classifier.noise.name,
            "head_dtype": certifier.settings.head_dtype or OWN_DTYPE,
            "radius_loss_in_latent": classifier.radius_scale.loss,
            "lipschitz_bound": classifier.radius_scale.lipschitz,
            "lipschitz_method": _methods(classifier),
            "norm": "L2",
            "predict_n": signatures.predict_n,
            "max_n": signatures.max_n,
            "radii_of_certify_at": signatures.radii,
        },
    }


def margin_description(classifier: BaseClassifier) -> dict[str, Any]:
    """Returns what the card tells of a base classifier that is certified by margins."""
    scale = classifier.margin_scale
    others = ~np.eye(classifier.num_classes, dtype=bool)
    return {
        **_input_and_classes(classifier),
        "margin_certificates": {
            "classifier": "base: encoder and head in float64, without noise",
            "certainty": "proofs, without samples and without alpha",
            "norm": "L2",
            "lipschitz_bound": classifier.lipschitz_report.bound,
            "largest_lipschitz_bound_of_a_margin": float(scale.pair_lipschitz[others].max()),
            "lipschitz_method": _methods(classifier),
            "rounding_loss_of_a_margin": scale.loss,
            "images_evaluated_together": classifier.rows_together,
        },
    }


def read_model_card(version: pathlib.Path) -> dict[str, Any] | None:
    """Returns the card of a version as a dict, or None if it has none."""
    path = version / "assets.extra" / "model_card.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _input_and_classes(classifier: SmoothedClassifier | BaseClassifier) -> dict[str, Any]:
    return {
        "input": {"shape": list(classifier.image_shape), "range": [0.0, 1.0], "channels": "last"},
        "classes": classifier.num_classes,
    }


def _methods(classifier: SmoothedClassifier | BaseClassifier) -> list[str]:
    rows = classifier.lipschitz_report.rows
    return [f"{row.name}: {row.layer_bound.method}" for row in rows]


def _tensors(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "dtype": tf.as_dtype(info.dtype).name,
            "shape": tf.TensorShape(info.tensor_shape).as_list(),
            "unit": _UNITS[name],
        }
        for name, info in sorted(tensors.items())
    }


def _markdown(card: Mapping[str, Any]) -> str:
    lines = [f"# {card['name']}", ""]
    for key in _SECTIONS:
        if key not in card:
            continue
        lines += [f"## {key.replace('_', ' ').capitalize()}", ""]
        lines += [_measurements(card[key]), ""] if "measured" in key else [*_lines(card[key]), ""]
    lines += ["## Signatures", "", _signature_table(card["signatures"])]
    tensors = {
        name
        for signature in card["signatures"].values()
        for side in ("inputs", "outputs")
        for name in signature[side]
    }
    units = [f"- `{name}`: {unit}" for name, unit in _UNITS.items() if name in tensors]
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


def _measurements(measured):
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
