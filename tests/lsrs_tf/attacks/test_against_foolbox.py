"""Attacks beside those of foolbox, on the same network and with the same steps."""

import foolbox
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf.attacks.attacked_base import AttackedBase
from tests.lsrs_tf.attacks.victims import dense_model, gray_images

ATTACKS = {
    "pgd": (foolbox.attacks.L2PGD(steps=40), 0.3, 40),
    "ddn": (foolbox.attacks.DDNAttack(steps=60), None, 60),
    "fmn": (foolbox.attacks.L2FMNAttack(steps=60), None, 60),
    "deepfool": (foolbox.attacks.L2DeepFoolAttack(steps=20), None, 20),
    "carlini_wagner": (
        foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=9, steps=40, stepsize=0.02, initial_const=1.0
        ),
        None,
        40,
    ),
}


@pytest.mark.parametrize("method", ATTACKS)
def test_distances_are_at_most_two_percent_larger(method):
    model, images = dense_model(), gray_images(16)
    attacked = AttackedBase(model)
    labels = np.array([attacked.answer(image) for image in images])
    reference, radius, steps = ATTACKS[method]
    with tf.device("/CPU:0"):
        other = foolbox.models.TensorFlowModel(
            lambda images: model(images, training=False), bounds=(0, 1), device="/CPU:0"
        )
        criterion = foolbox.criteria.Misclassification(tf.constant(labels))
        _, found, success = reference(other, tf.constant(images), criterion, epsilons=radius)
    changes = (found.numpy().astype(np.float64) - images).reshape(len(images), -1)
    theirs = np.where(success.numpy(), np.linalg.norm(changes, axis=1), np.inf)
    result = lsrs_tf.attack(
        model, images, labels, method=method, radius=radius, steps=steps, verbose=0
    )
    assert np.isfinite(np.median(theirs))
    assert np.median(result.distances) <= 1.02 * np.median(theirs)
    assert np.isfinite(result.distances).sum() >= success.numpy().sum()
