import keras
import numpy as np
import pytest

from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.certification.encoded_images import encoded_images
from lsrs_tf.sampling.encoding import LatentEncoder
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

IMAGES = np.random.default_rng(0).uniform(size=(11, 8, 8, 1)).astype(np.float32)


@pytest.fixture(autouse=True)
def _small_encoders_are_worthwhile(monkeypatch):
    monkeypatch.setattr("lsrs_tf.sampling.encoding._LEAST_BYTES", 0)


@pytest.fixture(scope="module")
def identity():
    """A classifier whose latents are its images, so that each says of which it is."""
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Identity()])
    head = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lsrs_tf.sampling.encoding._LEAST_BYTES", 0)
        classifier = SmoothedClassifier(models.LatentSmoothingModel(encoder, head, 0.25))
    assert classifier.images_together == 4
    return classifier


def _check_pairs(classifier, order):
    found = list(encoded_images(classifier, ((key, IMAGES[key]) for key in order)))
    assert [encoded.key for encoded in found] == list(order)
    for encoded in found:
        np.testing.assert_array_equal(encoded.image, IMAGES[encoded.key])
        np.testing.assert_array_equal(encoded.latent, IMAGES[encoded.key])
        assert encoded.seconds > 0


@pytest.mark.parametrize("order", [range(11), range(10, -1, -1), [3, 3, 0, 3, 3, 3, 1], [5], []])
def test_every_image_has_its_own_latent(identity, order):
    _check_pairs(identity, order)


def test_latents_in_another_order_are_noticed(identity, monkeypatch):
    right = LatentEncoder.encode_each
    monkeypatch.setattr(LatentEncoder, "encode_each", lambda *args: right(*args)[::-1])
    with pytest.raises(AssertionError):
        _check_pairs(identity, range(4))
    monkeypatch.setattr(LatentEncoder, "encode_each", lambda *args: right(*args)[:-1])
    with pytest.raises(ValueError, match="zip"):
        _check_pairs(identity, range(4))


@pytest.mark.parametrize("count", [0, 1, 4, 6])
@pytest.mark.parametrize("kind", [ValueError, OSError, KeyError])
def test_images_before_a_failure_come_first(identity, count, kind):
    def failing():
        yield from enumerate(IMAGES[:count])
        raise kind("the file ends here")

    found = []
    with pytest.raises(kind, match="the file ends here"):
        for encoded in encoded_images(identity, failing()):
            np.testing.assert_array_equal(encoded.latent, IMAGES[encoded.key])
            found.append(encoded.key)
    assert found == list(range(count))


def test_no_more_is_read_than_is_encoded_together(identity):
    read = []

    def reading():
        for key, image in enumerate(IMAGES):
            read.append(key)
            yield key, image

    each = encoded_images(identity, reading())
    for place in range(11):
        next(each)
        assert len(read) == min(11, 4 * (place // 4 + 1))


def test_image_without_a_latent_fails_after_those_before_it(identity, monkeypatch):
    encode, encode_each = LatentEncoder.encode, LatentEncoder.encode_each

    def refuse(images):
        if any(np.array_equal(image, IMAGES[6]) for image in images):
            raise ValueError("not finite")

    monkeypatch.setattr(
        LatentEncoder, "encode", lambda self, image: refuse([image]) or encode(self, image)
    )
    monkeypatch.setattr(
        LatentEncoder,
        "encode_each",
        lambda self, images: refuse(images) or encode_each(self, images),
    )
    found = []
    with pytest.raises(ValueError, match="not finite"):
        for encoded in encoded_images(identity, enumerate(IMAGES)):
            np.testing.assert_array_equal(encoded.latent, IMAGES[encoded.key])
            found.append(encoded.key)
    assert found == [0, 1, 2, 3, 4, 5]


_SETTINGS = {
    "fixed": {"n": 60},
    "shared": {"n": 60, "images_per_draw": 3},
    "sequential": {"method": "sequential", "target_radii": [0.1], "n": 200},
}


@pytest.mark.parametrize("method", _SETTINGS)
def test_certificates_do_not_depend_on_what_is_encoded_together(method, monkeypatch):
    keras.utils.set_random_seed(0)
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    settings = {**_SETTINGS[method], "n0": 10, "alpha": 0.01, "batch_size": 48}
    together = Certifier(model, **settings)
    monkeypatch.undo()
    alone = Certifier(model, **settings)
    assert (alone.classifier.images_together, together.classifier.images_together) == (1, 4)
    expected = dict(enumerate(alone.certify_each(IMAGES)))
    for order in (range(11), [7, 2, 2, 9, 0, 7, 7], [4]):
        for key, found, seconds in together.certificates_of((key, IMAGES[key]) for key in order):
            assert seconds > 0
            assert (found.label, found.radius) == (expected[key].label, expected[key].radius)
            np.testing.assert_array_equal(found.counts, expected[key].counts)
            np.testing.assert_array_equal(found.selection_counts, expected[key].selection_counts)


@pytest.mark.parametrize("method", _SETTINGS)
def test_invalid_image_in_the_middle_leaves_those_before_it(method):
    settings = {**_SETTINGS[method], "n0": 10, "alpha": 0.01, "batch_size": 48}
    certifier = Certifier(models.convnet(width=4, num_classes=3), **settings)
    images = IMAGES[:7].copy()
    images[5, 2, 2] = np.nan
    found = []
    with pytest.raises(ValueError, match="Image 5 has 1 pixels"):
        for key, _, _ in certifier.certificates_of(enumerate(images)):
            found.append(key)
    assert sorted(found) == [0, 1, 2, 3, 4]
