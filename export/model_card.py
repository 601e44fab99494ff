"""What a version is, for people and for programs: `assets.extra/model_card.json` and `.md`."""

import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.card_text import UNITS, markdown_card
from export.saved_model_file import read_signatures
from export.signatures import Signatures
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.version import __version__

# Of a head that is not cast.
OWN_DTYPE = "own"


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
            both, and `encoded_images`, the `ImageDecoder.description`.
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
    (folder / "model_card.md").write_text(markdown_card(card))


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
            "unit": UNITS[name],
        }
        for name, info in sorted(tensors.items())
    }
