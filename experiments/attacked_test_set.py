"""The attack of test images into a file, one by one."""

import math
import pathlib

import keras
import numpy as np

from experiments.certified_test_set import missing_images
from experiments.datasets import fingerprint_of
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.progress import progress
from lsrs_tf.records.attacks import AttackJournal, AttackRecord


def attack_test_images(
    attacker, model, data, path, indices, radius=None, settings=None, adversarial_dir=None
):
    """Attacks test images into a file, leaving out those that it holds already.

    Args:
        attacker: `lsrs_tf.attacks.Attacker`, without targets.
        model: `LatentSmoothingModel`, for its fingerprint.
        data: `datasets.ImageData`.
        path: the file.
        indices: increasing list of int, which test images; the file may hold no others.
        radius: float, or None for attacks that take none.
        settings: dict of what else decides a row: restarts, seed, draws, n, alpha.
        adversarial_dir: folder for PNG pairs, or None.
    """
    columns = {
        **(settings or {}),
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "attack": attacker.attack.name,
        "steps": attacker.attack.steps,
        "attack_radius": radius,
        **attacker.attacked.columns(),
        "model": fingerprint(model),
    }
    with AttackJournal(path, columns) as file:
        missing = missing_images(file.done, indices, data, path)
        about = []
        outcomes = progress(
            attacker.outcomes(_entries(missing, data, about, radius)),
            desc="attack",
            unit="image",
            total=len(indices),
            initial=len(indices) - len(missing),
        )
        for outcome in outcomes:
            index, label, image = about.pop(0)
            if adversarial_dir is not None and math.isfinite(outcome.distance):
                _save_pair(pathlib.Path(adversarial_dir), index, label, image, outcome)
            file.add(
                AttackRecord(
                    idx=index,
                    label=label,
                    found=outcome.label,
                    distance=outcome.distance,
                    changed_distance=outcome.changed_distance,
                    clean=outcome.clean_label,
                    seconds=outcome.seconds,
                    extra={
                        "note": outcome.note or None,
                        "image_fingerprint": fingerprint_of(image),
                    },
                )
            )
        file.sort()


def _entries(indices, data, about, radius):
    """Yields what is attacked; notes (index, label, image) of each on the way."""
    longest = math.inf if radius is None else radius
    for index, (image, label) in zip(indices, data.test(indices), strict=True):
        image = np.asarray(image, np.float32)
        about.append((index, int(label), image))
        yield image, Goal(int(label)), longest


def _save_pair(directory, index, label, image, outcome):
    """Writes an image and what was found as PNG files, whose pixels have 8 bits."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, pixels in (
        (f"{index}_original_{label}", image),
        (f"{index}_found_{outcome.label}", outcome.image),
    ):
        keras.utils.save_img(directory / f"{name}.png", np.clip(pixels, 0, 1) * 255, scale=False)
