"""Planted faults are found, and sound certificates are left alone."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import validation
from experiments.run_directory import RunDirectory
from lsrs_tf import Certifier, lipschitz
from lsrs_tf.models import LatentSmoothingModel, base_classifier
from lsrs_tf.sampling import smoothed_classifier
from tests.commands import run_code

SHAPE = (4, 4, 1)


class _Data:
    """Gray images."""

    num_test = 12

    def __init__(self):
        generator = np.random.default_rng(0)
        self._images = generator.uniform(0.2, 0.8, (self.num_test, *SHAPE)).astype(np.float32)

    def test(self, indices):
        return [(self._images[index], 0) for index in indices]


def _model(*parts):
    """An isometric encoder and a linear head: margins of two classes are exact."""
    encoder = keras.Sequential([keras.Input(SHAPE), *(parts or [keras.layers.Identity()])])
    head = keras.Sequential(
        [keras.Input(encoder.output_shape[1:]), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    weights = np.random.default_rng(1).normal(size=(16, 2))
    biases = np.array([0.0, 0.02]) - weights.sum(axis=0) / 2
    head.set_weights([weights, biases])
    return LatentSmoothingModel(encoder, head, 0.25)


def _validated(model, **settings):
    certifier = Certifier(model, **settings)
    return validation.validate(certifier, _Data(), list(range(12)), steps=10, restarts=1)


SMOOTHED = {"n0": 50, "n": 1000, "alpha": 0.001, "batch_size": 128}


@pytest.mark.parametrize("settings", [{"method": "margin"}, SMOOTHED], ids=["margin", "fixed"])
def test_sound_certificates_are_not_contradicted(settings):
    result = _validated(_model(), **settings)
    assert str(result).startswith("0 of ")
    assert not result.alarm
    assert result.contradictions.trials > 5


def _model_with_a_deep_head(*parts):
    """The same function, of a head with a layer that can be cast."""
    model = _model(*parts)
    kernel, bias = model.head.get_weights()
    dense = [keras.layers.Dense(16), keras.layers.Dense(2)]
    deep = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *dense])
    deep.set_weights([np.eye(16), np.zeros(16), kernel, bias])
    return LatentSmoothingModel(model.encoder, deep, 0.25)


def test_the_cast_head_that_is_certified_is_attacked(monkeypatch):
    settings = {**SMOOTHED, "head_dtype": "bfloat16"}
    result = _validated(_model_with_a_deep_head(), **settings)
    assert not result.alarm
    assert result.contradictions.trials > 5
    whole = smoothed_classifier.lipschitz_report
    monkeypatch.setattr(
        smoothed_classifier, "lipschitz_report", lambda model: _halved(whole(model))
    )
    assert _validated(_model_with_a_deep_head(), **settings).alarm


def _halved(report):
    return dataclasses.replace(report, bound=report.bound / 2)


def test_a_bound_that_is_declared_half_is_found_by_margins(monkeypatch):
    whole = base_classifier.lipschitz_report
    monkeypatch.setattr(base_classifier, "lipschitz_report", lambda model: _halved(whole(model)))
    result = _validated(_model(), method="margin")
    assert result.alarm
    assert len(result.contradictions.images) == 12
    assert "ALARM: 12 of 12" in str(result)


def test_a_bound_that_is_declared_half_is_found_by_smoothing(monkeypatch):
    whole = smoothed_classifier.lipschitz_report
    monkeypatch.setattr(
        smoothed_classifier, "lipschitz_report", lambda model: _halved(whole(model))
    )
    result = _validated(_model(), **SMOOTHED)
    assert result.alarm
    assert len(result.contradictions.images) > 3


def test_a_stale_bound_is_found(monkeypatch):
    # As if it had been kept from before the encoder became larger.
    stale = lipschitz.lipschitz_report(_model().freeze_encoder())
    monkeypatch.setattr(smoothed_classifier, "lipschitz_report", lambda _: stale)
    result = _validated(_model(keras.layers.Rescaling(3.0, offset=-1.0)), **SMOOTHED)
    assert result.alarm


@keras.saving.register_keras_serializable("tests")
class _MixesRows(keras.layers.Layer):
    """Adds the mean of the batch: alone, an image is doubled."""

    def call(self, inputs):
        return inputs + keras.ops.mean(inputs, axis=0, keepdims=True) - 0.5

    def compute_output_shape(self, input_shape):
        return input_shape


def test_an_encoder_that_depends_on_the_batch_is_found():
    claimed = lipschitz.LayerBound(1.0, "isometric", "claimed")
    lipschitz.bound_rule(_MixesRows)(lambda *_: claimed)
    result = _validated(_model(_MixesRows()), **SMOOTHED)
    assert result.alarm
    assert len(result.dependent) > 0
    assert "other values in a batch" in str(result)
    assert result.contradictions.alarm


_COMMAND = """
import runpy
runpy.run_module("experiments.validate", run_name="__main__", alter_sys=True)
"""
_FAULT = """
import dataclasses
from lsrs_tf.models import base_classifier
whole = base_classifier.lipschitz_report
base_classifier.lipschitz_report = lambda model: dataclasses.replace(
    whole(model), bound=whole(model).bound / 2
)
"""


def test_the_command_ends_with_status_3_where_a_bound_is_wrong(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.claim({"dataset": "digits"})
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Identity()])
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="orthogonal")]
    head = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    LatentSmoothingModel(encoder, head, 0.25).save(run.model)
    arguments = [f"--run_dir={run.path}", "--method=margin", "--num_images=8", "--steps=10"]
    sound = run_code(_COMMAND, *arguments)
    assert sound.returncode == 0, sound.stderr
    assert "0 of 8 attacks inside a certificate." in sound.stdout
    faulty = run_code(_FAULT + _COMMAND, *arguments)
    assert faulty.returncode == 3, faulty.stderr
    assert "ALARM: " in faulty.stdout
