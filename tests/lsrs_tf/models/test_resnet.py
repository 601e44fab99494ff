import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import layers, models

# Latents of a 32 x 32 image at width 64: field notes on the LS-RS paper's table 2.
LATENTS = {
    0: (32, 32, 3),
    1: (32, 32, 64),
    5: (32, 32, 64),
    9: (16, 16, 128),
    13: (8, 8, 256),
    17: (4, 4, 512),
}


def _convolutions(model, kind):
    """Counts convolutions on the main path: shortcuts are not layers in the paper's count."""
    return sum(
        isinstance(layer, kind) and "shortcut" not in layer.name
        for layer in model._flatten_layers()
    )


@pytest.mark.parametrize("orthogonal_layers", LATENTS)
def test_resnet18_is_cut_where_the_paper_cuts(orthogonal_layers):
    model = models.resnet18(orthogonal_layers=orthogonal_layers)
    assert model.encoder.output_shape[1:] == LATENTS[orthogonal_layers]
    assert _convolutions(model.encoder, layers.OrthogonalConv2D) == orthogonal_layers
    assert _convolutions(model.head, keras.layers.Conv2D) == 17 - orthogonal_layers
    assert model.compute_output_shape((None, 32, 32, 3)) == (None, 10)


@pytest.mark.parametrize("orthogonal_layers", [0, 1, 9, 17])
def test_resnet18_classifies(orthogonal_layers):
    model = models.resnet18(orthogonal_layers=orthogonal_layers, width=4, num_classes=7)
    assert model(np.zeros((2, 32, 32, 3), np.float32)).shape == (2, 7)


@pytest.mark.slow
def test_wide_resnet34_is_cut_where_the_paper_cuts():
    model = models.wide_resnet34()
    assert model.encoder.output_shape[1:] == (28, 28, 256)
    assert _convolutions(model.encoder, layers.OrthogonalConv2D) == 16
    assert _convolutions(model.head, keras.layers.Conv2D) == 18
    assert model.compute_output_shape((None, 224, 224, 3)) == (None, 1000)


@pytest.mark.parametrize("orthogonal_layers", [0, 1, 2, 16])
def test_wide_resnet34_classifies(orthogonal_layers):
    model = models.wide_resnet34(
        orthogonal_layers, widen_factor=1, num_classes=5, input_shape=(32, 32, 3)
    )
    assert model(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 5)


@pytest.mark.parametrize("orthogonal_layers", [2, 18, 19, -1])
def test_cut_inside_a_block_is_refused(orthogonal_layers):
    with pytest.raises(ValueError, match=r"one of \[0, 1, 3, 5, 7, 9, 11, 13, 15, 17\]"):
        models.resnet18(orthogonal_layers=orthogonal_layers)


@pytest.mark.parametrize("parametrization", layers.PARAMETRIZATIONS)
def test_encoder_swaps_its_convolutions_by_name(parametrization):
    model = models.resnet18(9, width=4, input_shape=(16, 16, 3), parametrization=parametrization)
    found = {type(layer) for layer in model.encoder._flatten_layers() if hasattr(layer, "filters")}
    assert found == {layers.convolution(parametrization)}
    images = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(model.freeze_encoder()(images), model.encode(images), atol=2e-5)
    assert lsrs_tf.lipschitz_bound(model) <= 1 + 1e-9
