"""Checks of an export before a server gets to see it."""

import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from export import session_program
from export.graph_margins import SMALLEST_RADIUS
from export.image_decoder import REFUSED, ImageDecoder
from export.saved_model_file import read_functions
from export.signatures import Signatures
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.row_independence import same_but_for_rounding
from lsrs_tf.statistics import confidence

_ROWS, _SAMPLES, _ALPHA = 2, 300, 0.01
_MANY = 10_000
_MARGIN_ROWS = 6


def refuse_compiled_functions(version: pathlib.Path) -> None:
    """Raises if a SavedModel holds functions that only XLA can run, or Python code.

    Args:
        version: folder of the SavedModel.

    Raises:
        ValueError: with the names of such functions.
    """
    compiled = [
        function.signature.name
        for function in read_functions(version)
        if function.attr["_XlaMustCompile"].b
        or any(node.attr["_XlaMustCompile"].b for node in function.node_def)
        or any(node.op in ("XlaLaunch", "PyFunc", "EagerPyFunc") for node in function.node_def)
    ]
    if compiled:
        raise ValueError(
            "The model holds functions that a stock TensorFlow Serving refuses, because XLA must "
            f"compile them or Python run them: {', '.join(compiled[:5])}. On a CPU Keras compiles "
            "convolutions with groups: use others, or export with XLA for a server that has it."
        )


def check_export(
    version: pathlib.Path,
    certifier: Certifier,
    signatures: Signatures,
    decoder: ImageDecoder | None = None,
    base: BaseClassifier | None = None,
) -> None:
    """Loads an export as the server does, and compares its answers with this process.

    The process that loads it is started once, also where margins are compared.

    Args:
        version: folder of the SavedModel.
        certifier: the `Certifier` it was made of.
        signatures: the `Signatures` it was made of.
        decoder: its `ImageDecoder`, or None without signatures of encoded images.
        base: the `BaseClassifier` whose margins it serves in addition, or None.

    Raises:
        ArithmeticError: if an answer differs.
        RuntimeError: if it cannot be loaded, or a signature fails.
    """
    classifier = certifier.classifier
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(_ROWS, *classifier.image_shape)).astype(np.float32)
    # The last row is refused.
    images[-1].flat[0] = np.nan
    seed = np.arange(_ROWS, dtype=np.int64)
    n = min(_SAMPLES, signatures.max_n)
    latents = [classifier.encode(image) for image in images[:-1]]
    requests = {
        "certify_with": {
            "images": images,
            "seed": seed,
            "n": np.full(_ROWS, n, np.int32),
            "alpha": np.full(_ROWS, _ALPHA),
        },
        "encode": {"images": images[:-1]},
        "classify": {"latents": np.stack(latents)},
        "predict_clean": {"images": images},
        "predict_smoothed": {"images": images},
        # Where certifying takes long, the table of its answers is not asked.
        "certify": {"images": images if certifier.settings.n <= _MANY else images[-1:]},
        "certify_at": {"images": images[-1:], "radius": np.zeros(1, np.float32)},
        "serving_default": {"images": images[-1:]},
    }
    files, pixels = _files(classifier.image_shape) if decoder else (None, None)
    if files is not None:
        requests["decode"] = {"image_bytes": files}
        requests["certify_with_bytes"] = _request_with_files(
            files[[0, -1]], requests["certify_with"]
        )
    margins = None if base is None else _margin_inputs(base, decoder)
    if margins is not None:
        # `decode` is asked of the same files.
        requests.update(_margin_requests(margins))
    answers = ask(version, requests)
    for row, latent in enumerate(latents):
        selection, votes = _counts(certifier, images[row], latent, n, row)
        label = int(selection.argmax())
        radius, _ = classifier.radius_scale.proven(votes, label, n=n, alpha=_ALPHA)
        found = {name: value[row] for name, value in answers["certify_with"].items()}
        _same("latents", answers["encode"]["latents"][row], latent)
        _same("votes", found["votes"], votes)
        # A bound that is rounded down a little further may lose the last bit of certainty.
        if found["label"] != -1:
            _same("labels", found["label"], label)
        if not confidence.float32_below(radius * (1 - 1e-5)) <= found["radius"] <= radius:
            raise ArithmeticError(
                f"The exported radius {found['radius']} is not that of this process, {radius}."
            )
    _check_table(answers["certify"], certifier)
    predicted = answers["predict_smoothed"]
    for label, votes in zip(predicted["label"][:-1], predicted["votes"][:-1], strict=True):
        expected = confidence.predicted_label(votes, signatures.predict_n, certifier.settings.alpha)
        _same("predicted labels", label, expected)
    logits, expected = answers["predict_clean"]["logits"][:-1], answers["classify"]["logits"]
    # TensorFlow fuses operations of one signature otherwise than those of another.
    if not same_but_for_rounding(classifier.head, expected, logits):
        raise _difference("logits", logits, expected)
    for name in ("certify_with", "certify", "certify_at", "predict_smoothed", "predict_clean"):
        _same(f"answers of {name} to a refused row", answers[name]["label"][-1], -1)
    if pixels is not None:
        _same("pixels of files", answers["decode"]["images"], pixels)
        _, votes = _counts(certifier, pixels[0], classifier.encode(pixels[0]), n, 0)
        found = answers["certify_with_bytes"]
        _same("votes of files", found["votes"], [votes, np.zeros_like(votes)])
        _same("answers to a file that is refused", found["label"][-1], -1)
    if base is not None and margins is not None:
        _check_margin_answers(answers, margins, base)


def check_margins(
    version: pathlib.Path, classifier: BaseClassifier, decoder: ImageDecoder | None = None
) -> None:
    """Loads an export as the server does, and compares its margins with those of this process.

    Args:
        version: folder of the SavedModel.
        classifier: the `BaseClassifier` it was made of.
        decoder: its `ImageDecoder`, or None without signatures of encoded images.

    Raises:
        ArithmeticError: if a bit of an answer differs.
        RuntimeError: if it cannot be loaded, or the signature fails.
    """
    given = _margin_inputs(classifier, decoder)
    _check_margin_answers(ask(version, _margin_requests(given)), given, classifier)


class _MarginInputs(NamedTuple):
    """What margins are asked of: images, and files with the pixels they are to be decoded to."""

    images: NDArray[np.float32]
    files: NDArray[np.object_] | None = None
    pixels: NDArray[np.float32] | None = None


def _margin_inputs(classifier: BaseClassifier, decoder: ImageDecoder | None) -> _MarginInputs:
    rng = np.random.default_rng(0)
    # More rows than are evaluated together, and of several contrasts.
    images = rng.uniform(size=(_MARGIN_ROWS, *classifier.image_shape))
    contrasts = np.linspace(0, 1, _MARGIN_ROWS).reshape(-1, 1, 1, 1)
    images = (0.5 + contrasts * (images - 0.5)).astype(np.float32)
    refused = images[:1].copy()
    refused.flat[0] = np.nan
    images = np.concatenate([refused, images])
    if decoder is None:
        return _MarginInputs(images)
    return _MarginInputs(images, *_files(classifier.image_shape))


def _margin_requests(given: _MarginInputs) -> dict[str, dict[str, NDArray[Any]]]:
    requests: dict[str, dict[str, NDArray[Any]]] = {"certify_margin": {"images": given.images}}
    if given.files is not None:
        requests["certify_margin_bytes"] = requests["decode"] = {"image_bytes": given.files}
    return requests


def _check_margin_answers(
    answers: Mapping[str, Mapping[str, NDArray[Any]]],
    given: _MarginInputs,
    classifier: BaseClassifier,
) -> None:
    compared = {"certify_margin": given.images}
    if given.pixels is not None:
        _same("pixels of files", answers["decode"]["images"], given.pixels)
        compared["certify_margin_bytes"] = given.pixels
    for name, rows in compared.items():
        for row, image in enumerate(rows):
            found = [answers[name][output][row] for output in ("label", "radius", "margin")]
            _same(f"answers of {name}", found, _margin_answer(classifier, image))


def _margin_answer(
    classifier: BaseClassifier, image: NDArray[np.float32]
) -> tuple[int, float, float]:
    """Returns the label, radius and margin that are to be served for an image, valid or not."""
    # Comparisons with NaN are false.
    if not np.all((image >= 0) & (image <= 1)):
        return -1, 0.0, 0.0
    proof = classifier.margin_scale.proven(classifier.logits(image))
    radius = confidence.float32_below(proof.radius)
    # What sessions flush to 0 abstains.
    if radius < SMALLEST_RADIUS:
        return -1, 0.0, 0.0
    return proof.label, float(radius), proof.margin


def _request_with_files(
    files: NDArray[np.object_], request: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Returns the request of as many files for a request of pixels."""
    others = {name: value[: len(files)] for name, value in request.items() if name != "images"}
    return {"image_bytes": files, **others}


def _files(
    image_shape: Sequence[int],
) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    """Returns files of the size of an input, and the pixels that they are to be decoded to.

    A PNG and a JPEG file, a PNG file that ends early, and an empty one.
    """
    values = np.random.default_rng(0).integers(0, 256, tuple(image_shape), dtype=np.uint8)
    png, jpeg = (encode(values).numpy() for encode in (tf.io.encode_png, tf.io.encode_jpeg))
    lossy = tf.io.decode_jpeg(jpeg, dct_method="INTEGER_ACCURATE").numpy()
    pixels = np.stack([values, lossy]).astype(np.float32) / np.float32(255)
    refused = np.full_like(pixels, REFUSED)
    return np.array([png, jpeg, png[:-20], b""], object), np.concatenate([pixels, refused])


def _counts(
    certifier: Certifier, image: NDArray[np.float32], latent: tf.Tensor, n: int, seed: int
) -> list[NDArray[np.int64]]:
    """Returns the votes of an image in this process: those that select, those that estimate."""
    stages = [(random_streams.SELECTION, certifier.settings.n0), (random_streams.ESTIMATION, n)]
    return certifier.classifier.count(image, latent, stages, seed)


def _check_table(answers: Mapping[str, NDArray[Any]], certifier: Certifier) -> None:
    """Compares the radii of `certify` with those of its own votes, whose noise was fresh."""
    for label, radius, votes in zip(
        *(answers[name][:-1] for name in ("label", "radius", "votes")), strict=True
    ):
        if label >= 0:
            expected, _ = certifier.classifier.radius_scale.proven(
                votes, label, n=certifier.settings.n, alpha=certifier.settings.alpha
            )
            _same("radii", radius, confidence.float32_below(expected))


def _same(what: str, found: ArrayLike, expected: ArrayLike) -> None:
    if not np.array_equal(found, np.asarray(expected)):
        raise _difference(what, found, expected)


def _difference(what: str, found: ArrayLike, expected: ArrayLike) -> ArithmeticError:
    return ArithmeticError(
        f"The export gives other {what} than this process, so that its certificates would not be "
        f"those of the model. Received: {found}, expected: {np.asarray(expected)}."
    )


def ask(
    version: pathlib.Path, requests: Mapping[str, Mapping[str, NDArray[Any]]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Returns the answers of a SavedModel in a process of its own, without this package.

    Args:
        version: folder of the SavedModel.
        requests: dict of signature to dict of input to array.

    Returns:
        dict of signature to dict of output to array.

    Raises:
        RuntimeError: if it cannot be loaded, or a signature fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = (pathlib.Path(folder) / name for name in ("asked.npz", "answered.npz"))
        arrays: dict[str, Any] = {
            f"{signature}/{name}": value
            for signature, inputs in requests.items()
            for name, value in inputs.items()
        }
        np.savez(asked, **arrays)
        ended = subprocess.run(
            [sys.executable, session_program.__file__, str(version), str(asked), str(answered)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(
                f"{version} does not load or run as in TensorFlow Serving: "
                f"{ended.stderr.strip().splitlines()[-1]}"
            )
        answers: dict[str, dict[str, NDArray[Any]]] = {}
        with np.load(answered) as found:
            for key in found.files:
                signature, name = key.split("/")
                answers.setdefault(signature, {})[name] = found[key]
    return answers
