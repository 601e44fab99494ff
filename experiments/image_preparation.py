"""What images go through before a network sees them, in training and in tests."""

import tensorflow as tf

IMAGENET_SIZE, _IMAGENET_SHORT_SIDE = 224, 256
# Of small images as well, an eighth is left for random crops.
SMALL_SIZE, _SMALL_SHORT_SIDE = 64, 72


def scaled(image):
    """Returns an image of 8 bits with pixels in [0, 1]."""
    return tf.cast(image, tf.float32) / 255


def cropped_and_flipped(image, mode):
    """Returns a random crop of 32 x 32 pixels of a padded image, see `tf.pad`, or its mirror."""
    padded = tf.pad(scaled(image), [[4, 4], [4, 4], [0, 0]], mode=mode)
    return tf.image.random_flip_left_right(tf.image.random_crop(padded, (32, 32, 3)))


def _resize(image, size):
    return tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0.0, 1.0)


def centre_of_imagenet(image):
    """Returns the centre of an image, 224 x 224 pixels after its short side has got 256."""
    return centre(_to_short_side(scaled(image), _IMAGENET_SHORT_SIDE), IMAGENET_SIZE)


def _to_short_side(image, short_side):
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = short_side / tf.reduce_min(size)
    return _resize(image, tf.cast(tf.round(size * scale), tf.int32))


def centre(image, size):
    """Returns the centre of an image, of so many pixels on each side."""
    return tf.image.resize_with_crop_or_pad(image, size, size)


def shrunk(image):
    """Returns the centre of an image, small and with pixels of 8 bits, as ImageNet's are."""
    small = centre(_to_short_side(scaled(image), _SMALL_SHORT_SIDE), _SMALL_SHORT_SIDE)
    return tf.cast(tf.round(255 * small), tf.uint8)


def small_cropped_and_flipped(image):
    """Returns a random crop of what `shrunk` has left, and flips it."""
    crop = tf.image.random_crop(scaled(image), (SMALL_SIZE, SMALL_SIZE, 3))
    return tf.image.random_flip_left_right(crop)


def distorted_and_flipped(image):
    """Returns a random part of an image, in 224 x 224 pixels, and flips it."""
    start, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.zeros([1, 0, 4]),
        area_range=(0.25, 1.0),
        aspect_ratio_range=(0.75, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    crop = _resize(scaled(tf.slice(image, start, size)), (IMAGENET_SIZE, IMAGENET_SIZE))
    crop = tf.ensure_shape(crop, (IMAGENET_SIZE, IMAGENET_SIZE, 3))
    return tf.image.random_flip_left_right(crop)
