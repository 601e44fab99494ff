"""Image classification data sets as tf.data pipelines of images in [0, 1]."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import keras
import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf
import tensorflow_datasets as tfds

from experiments import image_preparation
from experiments.shares import ALL

NAMES = ("digits", "cifar10", "imagenette", "imagenette64", "imagenet2012")
CROP_PADDINGS = ("zeros", "reflect")

_FINGERPRINTED = 8


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set, split into training and test images.

    Attributes:
        name: str, one of `NAMES`.
        image_shape: (height, width, channels) after preprocessing.
        class_names: tuple of str.
        num_train: int, the number of training images.
        num_test: int, the number of test images.
        training: function (batch_size, seed, share) -> `tf.data.Dataset` of shuffled, augmented
            batches (images float32 [batch, height, width, channels] in [0, 1], labels int64
            [batch]); those of the `shares.Share` of a worker, by default all of them.
        test: function (indices) -> `tf.data.Dataset` of the test (image, label) pairs at these
            increasing indices, or of all for None, in a fixed order.
    """

    name: str
    image_shape: tuple
    class_names: tuple
    num_train: int
    num_test: int
    training: Callable
    test: Callable

    def fingerprint(self):
        """Returns 16 hexadecimal digits of the first test images, as they are prepared here.

        Another edition of the data, decoder or preparation gives others. This takes no time, also
        where the test set is large; that the other images are the same, the fingerprint of each
        says, see `fingerprint_of`.
        """
        digest = hashlib.sha256(f"{self.image_shape} {self.num_test}".encode())
        for image, label in self.test(None).take(_FINGERPRINTED):
            digest.update(np.ascontiguousarray(image).tobytes() + str(int(label)).encode())
        return digest.hexdigest()[:16]


def fingerprint_of(image):
    """Returns 16 hexadecimal digits of an image [height, width, channels], to the last bit."""
    image = np.ascontiguousarray(image, "<f4")
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:16]


def load(name, data_dir=None, download=False, *, crop_padding="zeros", rand_augment=None):
    """Loads a data set.

    Args:
        name: one of `NAMES`. 'digits' comes with scikit-learn, the others through
            tensorflow-datasets.
        data_dir: folder of tensorflow-datasets, or None for its default.
        download: whether tensorflow-datasets may download and prepare what is missing.
        crop_padding: one of `CROP_PADDINGS`, what is around the training images of 'cifar10' where
            they are cropped.
        rand_augment: float in (0, 1] or None, strength of two random operations of
            `keras.layers.RandAugment` on each training image.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: if the name is unknown, or the data set is not augmented like this.
        FileNotFoundError: if the data is missing and may not be downloaded.
    """
    if crop_padding != "zeros" and name != "cifar10":
        raise ValueError(
            f"Training images of {name} are not padded. Leave --crop_padding out, or use cifar10. "
            f"Received: crop_padding={crop_padding!r}"
        )
    if name == "digits":
        if rand_augment is not None:
            raise ValueError(
                "The digits are not augmented, because they have no color and 8 x 8 pixels. Leave "
                f"--rand_augment out. Received: rand_augment={rand_augment!r}"
            )
        return _digits()
    augmented = functools.partial(_from_tfds, rand_augment=rand_augment)
    if name == "cifar10":
        crop_and_flip = functools.partial(
            image_preparation.cropped_and_flipped,
            mode="CONSTANT" if crop_padding == "zeros" else "REFLECT",
        )
        return augmented(
            name,
            "cifar10",
            "test",
            (32, 32, 3),
            image_preparation.scaled,
            crop_and_flip,
            data_dir,
            download,
        )
    if name == "imagenette":
        return augmented(
            name,
            "imagenette/320px-v2",
            "validation",
            (image_preparation.IMAGENET_SIZE, image_preparation.IMAGENET_SIZE, 3),
            image_preparation.centre_of_imagenet,
            image_preparation.distorted_and_flipped,
            data_dir,
            download,
        )
    if name == "imagenette64":
        return augmented(
            name,
            "imagenette/320px-v2",
            "validation",
            (image_preparation.SMALL_SIZE, image_preparation.SMALL_SIZE, 3),
            lambda image: image_preparation.centre(
                image_preparation.scaled(image_preparation.shrunk(image)),
                image_preparation.SMALL_SIZE,
            ),
            image_preparation.small_cropped_and_flipped,
            data_dir,
            download,
            shrink=image_preparation.shrunk,
        )
    if name == "imagenet2012":
        return augmented(
            name,
            "imagenet2012",
            "validation",
            (image_preparation.IMAGENET_SIZE, image_preparation.IMAGENET_SIZE, 3),
            image_preparation.centre_of_imagenet,
            image_preparation.distorted_and_flipped,
            data_dir,
            download,
        )
    raise ValueError(f"Unknown data set {name!r}. Use one of {', '.join(NAMES)}.")


def _digits():
    digits = sklearn.datasets.load_digits()
    # Pixels are whole numbers from 0 to 16.
    images = (digits.images / 16).astype(np.float32)[..., np.newaxis]
    train_images, test_images, train_labels, test_labels = sklearn.model_selection.train_test_split(
        images,
        digits.target.astype(np.int64),
        test_size=360,
        random_state=0,
        stratify=digits.target,
    )

    def training(batch_size, seed, share=ALL):
        train = tf.data.Dataset.from_tensor_slices((train_images, train_labels))
        train = share.images(train.shuffle(len(train_images), seed=seed), len(train_images))
        return share.batches(train, batch_size).prefetch(2)

    return ImageData(
        name="digits",
        image_shape=(8, 8, 1),
        class_names=tuple(str(name) for name in digits.target_names),
        num_train=len(train_images),
        num_test=len(test_images),
        training=training,
        test=lambda indices: _at(
            tf.data.Dataset.from_tensor_slices((test_images, test_labels)), indices
        ),
    )


def _from_tfds(
    name,
    tfds_name,
    test_split,
    shape,
    prepare,
    augment,
    data_dir,
    download,
    rand_augment,
    shrink=None,
):
    builder = tfds.builder(tfds_name, data_dir=data_dir)
    if not builder.is_prepared():
        if not download:
            raise FileNotFoundError(
                f"The data set '{tfds_name}' is not at {builder.data_path}. Give the folder of "
                "tensorflow-datasets that holds it with --data_dir, or add --download to fetch and "
                "prepare it there (imagenet2012 has to be fetched by hand first: see its page in "
                "the catalog of tensorflow-datasets)."
            )
        builder.download_and_prepare()
    info = builder.info
    num_train = info.splits["train"].num_examples
    small = shape[0] <= 64

    def training(batch_size, seed, share=ALL):
        # Several workers have to read the files in one order.
        order = None if share.workers == 1 else tfds.ReadConfig(shuffle_seed=seed)
        train = builder.as_dataset(
            split="train", shuffle_files=True, as_supervised=True, read_config=order
        )
        if shrink is not None:
            # Once, before they are kept in memory.
            train = train.map(
                lambda image, label: (shrink(image), label), num_parallel_calls=tf.data.AUTOTUNE
            )
        if small:
            train = train.cache()
        train = train.shuffle(min(num_train, 50_000 if small else 2_000), seed=seed)
        train = share.images(train, num_train)
        train = train.map(
            lambda image, label: (augment(image), label), num_parallel_calls=tf.data.AUTOTUNE
        )
        if rand_augment is not None:
            layer = keras.layers.RandAugment(
                # Whatever the precision of the training is.
                value_range=(0, 1),
                num_ops=2,
                factor=rand_augment,
                seed=seed,
                dtype="float32",
            )
            train = train.map(
                lambda image, label: (
                    tf.clip_by_value(layer(image, training=True), 0.0, 1.0),
                    label,
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        return share.batches(train, batch_size).prefetch(tf.data.AUTOTUNE)

    def test(indices):
        images = builder.as_dataset(split=test_split, shuffle_files=False, as_supervised=True)
        return _at(images, indices).map(
            lambda image, label: (tf.ensure_shape(prepare(image), shape), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    return ImageData(
        name=name,
        image_shape=shape,
        class_names=tuple(info.features["label"].names),
        num_train=num_train,
        num_test=info.splits[test_split].num_examples,
        training=training,
        test=test,
    )


def _at(dataset, indices):
    if indices is None:
        return dataset
    wanted = tf.constant(indices, tf.int64)
    return (
        # Nothing is read after the last of them.
        dataset.take(max(indices, default=-1) + 1)
        .enumerate()
        .filter(lambda index, example: tf.reduce_any(index == wanted))
        .map(lambda index, example: example)
    )
