import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets
from experiments.shares import ALL, Share


def _batches(share, num_images, batch_size, epochs=1):
    images = tf.data.Dataset.range(num_images).map(lambda index: (tf.fill([2], index), index))
    images = images.shuffle(num_images, seed=3)
    train = share.batches(share.images(images, num_images), batch_size)
    return [
        (pixels.tolist(), labels.tolist())
        for pixels, labels in train.repeat(epochs).as_numpy_iterator()
    ]


@pytest.mark.parametrize(("workers", "devices"), [(2, 1), (3, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("num_images", [24, 35])
def test_shares_are_the_batches_of_one_process(workers, devices, num_images):
    shares = [Share(worker, workers, devices) for worker in range(workers)]
    parts = [_batches(share, num_images, 12, epochs=2) for share in shares]
    steps = ALL.steps(num_images - num_images % (workers * devices), 12)
    assert shares[0].steps(num_images, 12) == steps
    assert all(len(part) == 2 * steps * devices for part in parts)
    whole = _batches(ALL, num_images, 12, epochs=2)
    for step in range(2 * steps):
        of_replicas = [part[step * devices + device] for part in parts for device in range(devices)]
        # All replicas weigh the same.
        assert len({len(labels) for _, labels in of_replicas}) == 1
        together = sorted(label for _, labels in of_replicas for label in labels)
        alone = sorted(whole[step][1])
        left_out = num_images % (workers * devices) if (step + 1) % steps == 0 else 0
        assert len(together) == len(alone) - left_out
        assert set(together) <= set(alone)
        for pixels, labels in of_replicas:
            np.testing.assert_array_equal(pixels, np.transpose([labels, labels]))


def test_digits_are_shared():
    data = datasets.load("digits")
    images = np.concatenate(
        [
            batch
            for worker in range(2)
            for batch, _ in data.training(64, 0, Share(worker, 2)).as_numpy_iterator()
        ]
    )
    assert len(images) == data.num_train - data.num_train % 2
    alone = np.concatenate([batch for batch, _ in data.training(64, 0).as_numpy_iterator()])
    expected = alone[: len(images)].reshape(-1, 64)
    np.testing.assert_array_equal(
        np.sort(images.reshape(-1, 64), axis=0), np.sort(expected, axis=0)
    )


def test_what_cannot_be_divided_is_refused():
    Share(0, 2, 3).check(100, 12)
    with pytest.raises(ValueError, match="batch_size=10 .* multiple of 6"):
        Share(0, 2, 3).check(100, 10)
    with pytest.raises(ValueError, match="5 training images are too few"):
        Share(0, 2, 3).check(5, 12)
