"""CLEVER scores of test images into a file, one by one."""

import time

import numpy as np

from experiments.certified_test_set import missing_images
from experiments.datasets import fingerprint_of
from lsrs_tf.evaluation.clever import CleverResult
from lsrs_tf.evaluation.clever_estimator import CleverEstimator
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.progress import progress
from lsrs_tf.records.estimates import EstimateJournal, EstimateRecord


def estimate_test_images(model, data, path, indices, settings):
    """Estimates distances of test images into a file, leaving out those that it holds already.

    Args:
        model: built `LatentSmoothingModel`.
        data: `datasets.ImageData`.
        path: the file.
        indices: increasing list of int, which test images; the file may hold no others.
        settings: dict with estimate_radius, maxima, gradients_per_maximum and seed.
    """
    estimator = CleverEstimator(
        model,
        settings["estimate_radius"],
        settings["maxima"],
        settings["gradients_per_maximum"],
        seed=settings["seed"],
    )
    columns = {
        **settings,
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "model": fingerprint(model),
    }
    with EstimateJournal(path, columns) as file:
        missing = missing_images(file.done, indices, data, path)
        images = progress(
            zip(missing, data.test(missing), strict=True),
            desc=CleverResult.column,
            unit="image",
            total=len(indices),
            initial=len(indices) - len(missing),
        )
        for index, (image, label) in images:
            image = np.asarray(image, np.float32)
            start = time.perf_counter()
            found = estimator.estimate(image, index)
            file.add(
                EstimateRecord(
                    idx=index,
                    label=int(label),
                    clean=found.label,
                    estimate=found.estimate,
                    seconds=time.perf_counter() - start,
                    extra={
                        "fitted": int(found.fitted),
                        "image_fingerprint": fingerprint_of(image),
                    },
                )
            )
        file.sort()
