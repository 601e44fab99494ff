import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import fitting
from lsrs_tf import models
from tests.training import compiled


def test_models_are_built_to_size():
    sizes = fitting.sizes_of("resnet18", 1, width=4, widen_factor=None)
    model = fitting.build_model("resnet18", sizes, 7, (16, 16, 3), 0.5, "soc")
    assert model.compute_output_shape((None, 16, 16, 3)) == (None, 7)
    assert model.sigma == 0.5
    assert model.encoder.output_shape[-1] == 4


def test_backbones_are_built_to_size():
    sizes = fitting.sizes_of("fars_tiny", None, width=6, depth=1, dense_depth=0, head_units=[5])
    model = fitting.build_model("fars_tiny", sizes, 7, (16, 16, 1), 0.5, "soc")
    assert model.compute_output_shape((None, 16, 16, 1)) == (None, 7)
    assert model.encoder.output_shape == (None, 96)
    assert len(model.head.layers) == 3
    for name in fitting.MODELS:
        assert callable(getattr(models, name))


def test_compact_models_are_built_to_size():
    sizes = fitting.sizes_of(
        "compact_resnet", 2, width=4, downsampling=8, residual="convex", head="dense"
    )
    model = fitting.build_model("compact_resnet", sizes, 7, (24, 24, 3), 0.5, "cayley")
    assert model.encoder.output_shape == (None, 3, 3, 192)
    assert model.encoder.get_layer("block1").branch is not None
    assert model.head.get_layer("dense1").units == 4
    sizes = fitting.sizes_of("compact_resnet", 2, width=4)
    model = fitting.build_model("compact_resnet", sizes, 7, (24, 24, 3), 0.5, "cayley")
    assert model.encoder.output_shape == (None, 6, 6, 48)


def test_arguments_of_compact_models_are_refused_elsewhere():
    with pytest.raises(ValueError, match="--model=convnet is sized by --width, not by --residual"):
        fitting.sizes_of("convnet", 0, downsampling=None, residual="none", head="dense")


@pytest.mark.parametrize(
    ("name", "orthogonal_layers", "sizes", "message"),
    [
        ("vgg", 0, {}, "Unknown model 'vgg'"),
        ("resnet18", 0, {"width": 4, "widen_factor": 2}, "--width, not by --widen_factor"),
        ("wide_resnet34", 0, {"width": 4, "widen_factor": 2}, "--widen_factor, not by --width"),
        ("convnet", 0, {"depth": 0}, "--width, not by --depth"),
        ("fars_tiny", None, {"widen_factor": 2}, "--depth.* not by --widen_factor"),
        ("fars_tiny", 0, {}, "fars_tiny has no --orthogonal_layers"),
        ("resnet18", None, {}, "resnet18 needs --orthogonal_layers"),
    ],
)
def test_wrong_sizes_are_refused(name, orthogonal_layers, sizes, message):
    with pytest.raises(ValueError, match=message):
        fitting.sizes_of(name, orthogonal_layers, **sizes)


def test_fraction_replaced_is_the_papers():
    assert fitting.fraction_replaced("resnet18", 9, "cayley") == "9/18"
    assert fitting.fraction_replaced("wide_resnet34", 16, "soc") == "16/34 soc"
    assert fitting.fraction_replaced("resnet18", 0, "soc") == "0/18"
    assert fitting.fraction_replaced("fars_tiny", None, "cayley") == "fars_tiny"
    assert fitting.fraction_replaced("fars_small", None, "soc") == "fars_small soc"
    assert fitting.fraction_replaced("compact_resnet", 6, "cayley") == "6/16"
    assert fitting.fraction_replaced("compact_resnet", 0, "cayley", "dense") == "0/3"


def test_divergence_is_an_error_and_leaves_no_checkpoint(tmp_path):
    sizes = fitting.sizes_of("convnet", 0, width=4)
    model = fitting.build_model("convnet", sizes, 10, (8, 8, 1), 0.25, "cayley")
    model.compile(
        keras.optimizers.SGD(1e30), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype(np.float32)
    train = tf.data.Dataset.from_tensor_slices((images, np.arange(64) % 10)).batch(8)
    with pytest.raises(ValueError, match="diverged.* in epoch 1, .*--learning_rate.* No epoch was"):
        fitting.fit(model, train, 1, tmp_path, 0, None)
    assert not (tmp_path / "checkpoints").exists()
    # Where it went on after a checkpoint.
    with pytest.raises(ValueError, match="diverged.* in epoch 4, .* checkpoint, of epoch 3, is"):
        fitting.fit(model, train, 4, tmp_path, 3, None)


def test_step_is_traced_once_and_trains_as_keras_alone(tmp_path, monkeypatch):
    images = np.random.default_rng(0).uniform(size=(24, 8, 8, 1)).astype(np.float32)
    train = tf.data.Dataset.from_tensor_slices((images, np.arange(24) % 10)).batch(8)
    found = []
    for directory in (None, tmp_path):
        keras.utils.set_random_seed(0)
        sizes = fitting.sizes_of("convnet", 0, width=4)
        model = compiled(fitting.build_model("convnet", sizes, 10, (8, 8, 1), 0.25, "cayley"))
        traced, call = [], model.call
        monkeypatch.setattr(
            model,
            "call",
            lambda *args, traced=traced, call=call, **kwargs: (
                traced.append(1) or call(*args, **kwargs)
            ),
        )
        if directory is None:
            model.fit(train, epochs=2, shuffle=False, verbose=0)
        else:
            fitting.fit(model, train, 2, directory, 0, None)
            assert len(traced) == 1
        found.append([*model.get_weights(), *map(np.array, model.optimizer.variables)])
    for left, right in zip(*found, strict=True):
        np.testing.assert_array_equal(left, right)
