import math

import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.evaluation import multiply_adds


def _kept(model, images, others):
    """Returns the ratio of distances between latents and between images."""
    encoder = model.freeze_encoder()
    moved = np.array(encoder(images)) - np.array(encoder(others))
    axes = (1, 2, 3)
    return np.sqrt(np.sum(moved**2, axis=axes) / np.sum((images - others) ** 2, axis=axes))


@pytest.mark.parametrize(
    ("shape", "downsampling", "latent"),
    [
        ((32, 32, 3), 4, (8, 8, 48)),
        ((32, 32, 3), 8, (4, 4, 192)),
        ((8, 8, 1), 2, (4, 4, 4)),
    ],
)
@pytest.mark.parametrize("residual", ["none", "convex"])
@pytest.mark.parametrize("orthogonal_layers", [0, 2])
def test_latent_has_as_many_numbers_as_the_image(
    shape, downsampling, latent, residual, orthogonal_layers
):
    model = models.compact_resnet(
        orthogonal_layers,
        width=2,
        num_classes=7,
        input_shape=shape,
        downsampling=downsampling,
        residual=residual,
    )
    assert model.encoder.output_shape[1:] == latent
    assert math.prod(latent) == math.prod(shape)
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, 7)
    assert lsrs_tf.lipschitz_bound(model) <= 1 + 1e-9


@pytest.mark.slow
def test_large_images():
    model = models.compact_resnet(
        2, width=2, input_shape=(224, 224, 3), downsampling=8, num_classes=5
    )
    assert model.encoder.output_shape[1:] == (28, 28, 192)
    assert model(np.zeros((1, 224, 224, 3), np.float32)).shape == (1, 5)


def test_heads_have_the_costs_of_the_documentation():
    for expected, arguments in [
        (19.6e6, {"width": 16}),
        (0.85e6, {"width": 256, "head": "dense", "downsampling": 8}),
    ]:
        costs = {multiply_adds(models.compact_resnet(depth, **arguments).head) for depth in (0, 2)}
        assert len(costs) == 1
        assert costs.pop() == pytest.approx(expected, rel=0.01)


def test_without_orthogonal_layers_values_only_move():
    model = models.compact_resnet(0, width=2)
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    latents = np.array(model.encode(images)).reshape(2, -1)
    np.testing.assert_allclose(
        np.sort(latents), np.sort(images.reshape(2, -1) - np.float32(0.5)), atol=1e-7
    )
    assert not model.encoder.trainable_weights


@pytest.mark.parametrize(
    ("parametrization", "share"),
    [
        ("cayley", 0.97),
        ("scfac", 0.97),
        ("soc", 0.97),
        ("bro", 0.97),
        ("bjorck", 0.97),
        # Their singular values are below 1.
        ("aol", 0.9),
        ("sll", 0.9),
        ("spectral", 0.9),
    ],
)
def test_chains_begin_near_the_identity(parametrization, share):
    model = models.compact_resnet(6, width=2, parametrization=parametrization, head="dense")
    rng = np.random.default_rng(0)
    images = rng.uniform(0.2, 0.8, size=(4, 32, 32, 3))
    nearby = images + 1e-4 * rng.normal(size=images.shape)
    assert _kept(model, images, nearby).min() > share
    # A layer moves values little: latents are sorted, and else almost what comes in.
    first, sort = model.encoder.get_layer("conv1"), model.encoder.get_layer("conv1_sort")
    values = rng.normal(size=(1, 8, 8, 48)).astype(np.float32)
    change = np.linalg.norm(sort(first(values)) - sort(values)) / np.linalg.norm(values)
    assert 5e-4 < change < 0.6


def test_convex_blocks_shrink_what_chains_keep():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.2, 0.8, size=(4, 32, 32, 3))
    nearby = images + 1e-4 * rng.normal(size=images.shape)
    chain, blocks = (
        _kept(models.compact_resnet(6, width=2, residual=residual), images, nearby).mean()
        for residual in ("none", "convex")
    )
    assert chain > blocks + 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"residual": "plain"}, "`residual` must be 'none' or 'convex'"),
        ({"head": "mlp"}, "`head` must be one of resnet, dense"),
        ({"orthogonal_layers": -1}, "0, 1, 2"),
        ({"orthogonal_layers": 3, "residual": "convex"}, "an even number"),
        ({"downsampling": 5}, "blocks divide"),
        ({"downsampling": 0}, "pool_size"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.compact_resnet(width=2, **arguments)
