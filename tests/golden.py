"""What every method answers for fixed weights, images and seeds, to compare versions with.

    python -m tests.golden

writes `tests/golden.json` anew; do that only where answers are meant to change, and say why.
"""

import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

import lsrs_tf
from experiments import datasets
from experiments.certified_test_set import certify_test_images
from export.radius_tests import RadiusTests
from export.signatures import Signatures
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.records import schema
from tests.simulated import pixel, threshold_model

PATH = pathlib.Path(__file__).with_suffix(".json")

METHODS = {
    "fixed": {"n0": 20, "n": 400},
    "fixed runner_up": {"n0": 20, "n": 400, "against": "runner_up"},
    "fixed shared": {"n0": 20, "n": 400, "images_per_draw": 2},
    "sequential": {"method": "sequential", "target_radii": [0.1, 0.25], "n0": 20, "n": 2_000},
    "tolerance": {"method": "sequential", "tolerance": 0.05, "n0": 20, "n": 2_000},
}
_COMMON = {"alpha": 0.01, "seed": 11, "batch_size": 64}


def convnet():
    """Returns a network with an encoder, with weights that no initializer decides."""
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.dtype == "float32":
            values = rng.normal(size=weight.shape) / max(1, np.prod(weight.shape[:-1])) ** 0.5
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def answers():
    """Returns a JSON value: answers by model, noise and method, of an export, and of a file."""
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)
    pixels = np.stack([pixel(value) for value in (0.4, 0.5, 0.9)])
    found = {}
    for name, model, inputs in (
        ("threshold", threshold_model(0.45, 0.25, 3), pixels),
        ("convnet", convnet(), images),
    ):
        for noise in ("float32", "exact"):
            for method, settings in METHODS.items():
                result = lsrs_tf.certify(
                    model, inputs, **settings, **_COMMON, noise=noise, verbose=0
                )
                found[f"{name}, {noise}, {method}"] = {
                    "labels": result.labels.tolist(),
                    "radii": result.radii.tolist(),
                    "p_lower": result.p_lower.tolist(),
                    "counts": result.counts.tolist(),
                    "selection_counts": result.selection_counts.tolist(),
                    "samples": result.samples.tolist(),
                }
        labels = lsrs_tf.predict(model, inputs, n=200, verbose=0)
        found[f"{name}, predict"] = {"labels": labels.tolist()}
    found["export"] = _exported(convnet(), images)
    found["files"] = {method: _file(settings) for method, settings in METHODS.items()}
    return found


def _exported(model, images):
    certifier = Certifier(model, n0=20, n=500, alpha=0.01, jit_compile=False)
    signatures = Signatures(certifier, RadiusTests(certifier, [0.1]), predict_n=200, max_n=1_000)
    rows = len(images)
    answer = signatures.certify_with(
        tf.constant(images),
        tf.range(rows, dtype=tf.int64),
        tf.fill([rows], 300),
        tf.fill([rows], tf.constant(0.01, tf.float64)),
    )
    tested = signatures.certify_at_with(
        tf.constant(images), tf.fill([rows], tf.constant(3, tf.int64)), tf.fill([rows], 0.1)
    )
    tests = zip(*(tested[name].numpy() for name in ("robust", "label", "samples")), strict=True)
    return {
        "certify_with": {name: value.numpy().tolist() for name, value in answer.items()},
        "certify_at": [[value.item() for value in test] for test in tests],
        "encode": signatures.encode(tf.constant(images))["latents"].numpy().ravel().tolist()[:8],
    }


def _file(settings):
    model = convnet()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "certified.tsv"
        certifier = Certifier(model, **settings, **_COMMON)
        certify_test_images(certifier, model, datasets.load("digits"), path, "2/4", [0, 5, 9])
        header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    # The model's fingerprint has names of classes in it; times are of the machine, and costs are
    # columns that came later, of the model.
    left_out = {header.index(name) for name in ("time", "model", *schema.COSTS)}
    return [
        [text for place, text in enumerate(row) if place not in left_out] for row in (header, *rows)
    ]


if __name__ == "__main__":
    PATH.write_text(json.dumps(answers(), indent=1) + "\n")
