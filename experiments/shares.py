"""Which images of a training each worker reads."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of every batch that one of several workers trains on.

    All workers read the images in the same order, and each keeps its own. What they keep together
    is the batch of a single process. Images at the end of an epoch that cannot be divided among all
    replicas are left out, fewer than there are replicas, and other ones in every epoch: so that all
    replicas weigh the same.

    Attributes:
        worker: int, the index of the worker.
        workers: int, how many there are.
        devices: int, replicas of each worker.

    Examples:
        >>> images = tf.data.Dataset.range(8)
        >>> share = Share(worker=1, workers=2)
        >>> batches = share.batches(share.images(images, 8), 4)
        >>> [batch.tolist() for batch in batches.as_numpy_iterator()]
        [[1, 3], [5, 7]]
    """

    worker: int = 0
    workers: int = 1
    devices: int = 1

    @property
    def replicas(self):
        """How many replicas share a batch, int."""
        return self.workers * self.devices

    def steps(self, num_images, batch_size):
        """Returns how many batches an epoch has.

        Args:
            num_images: int, images of an epoch.
            batch_size: int, images of a batch of all workers.
        """
        return -(-(num_images - num_images % self.replicas) // batch_size)

    def check(self, num_images, batch_size):
        """Raises ValueError if batches or images cannot be divided among the replicas."""
        if batch_size % self.replicas:
            raise ValueError(
                f"--batch_size={batch_size} is the batch of all workers, and {self.replicas} "
                f"replicas (workers: {self.workers}, devices of each: {self.devices}) do not "
                f"divide it. Give a multiple of {self.replicas}."
            )
        if num_images < self.replicas:
            raise ValueError(
                f"{num_images} training images are too few for {self.replicas} replicas. Train on "
                "fewer workers or devices."
            )

    def images(self, images, num_images):
        """Returns those of a `tf.data.Dataset` of single images that belong to this worker.

        Args:
            images: dataset of the images of an epoch, in the order of all workers.
            num_images: int, how many there are.
        """
        if self.replicas == 1:
            return images
        kept = images.take(num_images - num_images % self.replicas)
        return kept.shard(self.workers, self.worker)

    def batches(self, images, batch_size):
        """Returns batches of the images of this worker, one for each of its devices in turn.

        Args:
            images: dataset of single images, as `images` returns it.
            batch_size: int, images of a batch of all workers.
        """
        batches = images.batch(batch_size // self.workers)
        return batches if self.devices == 1 else batches.flat_map(self._of_devices)

    def _of_devices(self, *batch):
        def divided(values):
            shape = tf.concat([[self.devices, -1], tf.shape(values)[1:]], axis=0)
            parts = tf.reshape(values, shape)
            return tf.ensure_shape(parts, [self.devices, None, *values.shape[1:]])

        return tf.data.Dataset.from_tensor_slices(tuple(map(divided, batch)))


# Of a single process and device.
ALL = Share()
