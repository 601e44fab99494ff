import functools

import tensorflow as tf

from lsrs_tf.lipschitz import lipschitz_report
from lsrs_tf.models.latent_smoothing import checked_noise_sigma, smoothed_parts
from lsrs_tf.numerics import precision
from lsrs_tf.sampling.cast_head import cast_head, check_goes_with, checked_head_dtype
from lsrs_tf.sampling.encoding import LatentEncoder
from lsrs_tf.sampling.linear_head import with_few_latents
from lsrs_tf.sampling.noise import noise_model
from lsrs_tf.sampling.random_streams import SELECTION
from lsrs_tf.sampling.random_streams import stream as noise_stream
from lsrs_tf.sampling.replicas import check_replicas, sum_over_replicas
from lsrs_tf.sampling.row_independence import checked_num_classes
from lsrs_tf.sampling.votes import VoteGraph, votes_of
from lsrs_tf.statistics.confidence import checked_count
from lsrs_tf.statistics.radius_scale import RadiusScale


class SmoothedClassifier:
    """The smoothed classifier of a model: an encoder run once per image, a head run many times.

    It holds a frozen copy of the encoder and a proven bound of its Lipschitz constant. The head is
    the model's own: after more training make a new classifier. The latent of an image is the same
    to the last bit whatever comes with it, see `LatentEncoder`.

    Made in the scope of a `tf.distribute.Strategy`, it samples on all of its replicas.

    Args:
        model: built `LatentSmoothingModel`.
        sigma: float above 0, standard deviation of the noise in the latent, or None for the
            model's.
        batch_size: int, noisy samples in one pass of the head on one replica.
        jit_compile: bool, whether XLA compiles the passes of the head, or None for where it pays:
            on a GPU.
        noise: 'float32', 'exact' or 'logits', see `Float32Noise`, `ExactNoise` and `LogitNoise`.
        head_dtype: 'bfloat16' for the head cast to it, another classifier, see `cast_head`; None
            for the head as it is.

    Attributes:
        image_shape: tuple, (height, width, channels).
        latent_shape: tuple, the shape of one latent.
        num_classes: int.
        pass_size: int, noisy samples in one pass of the head on all replicas together.
        noise: the `Float32Noise`, `ExactNoise` or `LogitNoise`.
        head_dtype: 'bfloat16' if the head was cast to it, or None.
        lipschitz_report: the `LipschitzReport` of the encoder.
        radius_scale: `RadiusScale`, with sigma as the noise has it in float32.
        encoder: the frozen encoder; with `LogitNoise` it ends in a projection of the latent.
        head: the model's head; with `LogitNoise` that of few latents, made of it, and with a
            `head_dtype` its copy that was cast, a snapshot.
        graph: the `VoteGraph`, which counts votes within graphs; the methods here are called from
            Python.

    Raises:
        ValueError: if the encoder has no proven bound, sigma is not above 0, the head does not
            give [batch, classes] with every row computed by itself, see `row_independence`, or
            noise='logits' is asked for with a head that is not one dense layer, or the head
            cannot be cast.
    """

    def __init__(
        self,
        model,
        sigma=None,
        batch_size=256,
        jit_compile=None,
        noise="float32",
        head_dtype=None,
    ):
        _, self.head = smoothed_parts(model)
        self.head_dtype = checked_head_dtype(head_dtype)
        check_goes_with(head_dtype, noise)
        sigma = checked_noise_sigma(model.sigma if sigma is None else sigma)
        make_noise = noise_model(noise)
        self.batch_size = checked_count(batch_size, "batch_size")
        self._strategy = tf.distribute.get_strategy()
        replicas = self._strategy.num_replicas_in_sync
        if replicas > 1:
            check_replicas(self._strategy, self.head)
        self.pass_size = self.batch_size * replicas
        self.encoder = model.freeze_encoder()
        self.image_shape = tuple(self.encoder.inputs[0].shape[1:])
        self.latent_shape = tuple(self.encoder.outputs[0].shape[1:])
        if None in (*self.image_shape, *self.latent_shape):
            raise ValueError(
                "The encoder must know the size of its images and latents. Received: images "
                f"{self.image_shape}, latents {self.latent_shape}."
            )
        if make_noise.few_latents:
            self.encoder, self.head = with_few_latents(self.encoder, self.head)
            self.latent_shape = tuple(self.encoder.outputs[0].shape[1:])
        if head_dtype is not None:
            self.head = cast_head(self.head, head_dtype, self.latent_shape)
        self.lipschitz_report = lipschitz_report(self.encoder)
        self.noise = make_noise(sigma, self.latent_shape)
        # The noise is float32, and so is its standard deviation: the radius must use that one.
        self.radius_scale = RadiusScale(
            self.noise.sigma,
            self.lipschitz_report.bound,
            self.noise.radius_loss(self.lipschitz_report.rounding_error),
        )
        self.num_classes = checked_num_classes(self.head, self.latent_shape, self.batch_size)
        self.graph = VoteGraph(
            self.head,
            self.noise,
            self.num_classes,
            self.batch_size,
            precision.xla_is_worthwhile() if jit_compile is None else jit_compile,
            replicas,
        )
        self._latents = LatentEncoder(self.encoder, self.noise.prepared)
        self._trace()

    def _trace(self):
        """Makes the functions that Python calls of what runs in graphs."""
        # Traced here and once, so that TensorFlow does not warn of tracing when a program makes
        # several classifiers; without a search for conditions on tensors, of which there are none.
        in_graph = functools.partial(tf.function, autograph=False)
        image = tf.TensorSpec(self.image_shape, tf.float32)
        latent = tf.TensorSpec(self.latent_shape, tf.float32)
        scalar, several = tf.TensorSpec([], tf.int64), tf.TensorSpec([None], tf.int64)
        self._clean_votes = in_graph(lambda latents: votes_of(self.head(latents, training=False)))
        self._sample_counts = in_graph(
            sum_over_replicas(self._strategy, self.graph.sample_counts)
        ).get_concrete_function(image, latent, scalar, scalar, scalar)
        self._packed_counts = in_graph(
            sum_over_replicas(self._strategy, self.graph.packed_counts),
            input_signature=[
                tf.TensorSpec([None, *self.latent_shape], tf.float32),
                tf.TensorSpec([None, 3], tf.uint64),
                several,
                several,
            ],
        )
        # Traced for each number of images, which is a constant but for the last ones.
        self._shared_counts = in_graph(sum_over_replicas(self._strategy, self.graph.shared_counts))

    def count(self, image, latent, purposes_and_samples, seed):
        """Counts the votes of noisy copies of one image.

        Args:
            image: float32 array of `image_shape`, checked; it names the random stream.
            latent: float32 tensor of `latent_shape`, see `encode`.
            purposes_and_samples: list of (purpose, samples), see `random_streams.stream`.
            seed: int.

        Returns:
            List of int64 arrays [classes], one for each purpose.
        """
        image = tf.convert_to_tensor(image, tf.float32)
        seed = tf.constant(seed, tf.int64)
        return [
            self._sample_counts(
                image, latent, seed, tf.constant(purpose, tf.int64), tf.constant(samples, tf.int64)
            ).numpy()
            for purpose, samples in purposes_and_samples
        ]

    def encode(self, image):
        """Returns the float32 latent of one checked image, a tensor of `latent_shape`.

        Raises:
            ValueError: if it has values that are not finite, of which nothing is certain.
        """
        return self._latents.encode(image)

    @property
    def images_together(self):
        """Images that are worth waiting for before they are encoded."""
        return self._latents.images_together

    def encode_each(self, images):
        """Returns the latents of a list of checked images, as `encode` does, to the last bit.

        It is faster for `images_together` of them than for one at a time.

        Raises:
            ValueError: as `encode`, if that holds for one of the images.
        """
        return self._latents.encode_each(images)

    def clean_label(self, latent):
        """Returns the class of a latent without noise, -1 for none; it has no certificate."""
        (votes,) = self._clean_votes(latent[tf.newaxis]).numpy()
        return int(votes.argmax()) if votes.any() else -1

    def count_packed(self, latents, streams, firsts, counts):
        """Counts votes for samples of several images in one pass of the head.

        Args:
            latents: list of float32 tensors of `latent_shape`.
            streams: list of uint64 tensors [3], see `random_streams.stream`.
            firsts: list of int, number of the first sample of each.
            counts: list of int, how many samples of each, `pass_size` together at most.

        Returns:
            int64 array [len(latents), classes].
        """
        return self._packed_counts(
            tf.stack(latents),
            tf.stack(streams),
            tf.constant(firsts, tf.int64),
            tf.constant(counts, tf.int64),
        ).numpy()

    def count_shared(self, latents, purpose, samples, seed):
        """Counts the votes of noisy copies of several images that share their noise.

        The votes of an image are the same whichever images are counted with it.

        Args:
            latents: list of float32 tensors of `latent_shape`, at most `batch_size` of them.
            purpose: see `random_streams.shared_stream`.
            samples: int, noisy copies of each.
            seed: int.

        Returns:
            int64 array [len(latents), classes].
        """
        return self._shared_counts(
            tf.stack(latents),
            tf.constant(seed, tf.int64),
            tf.constant(purpose, tf.int64),
            tf.constant(samples, tf.int64),
        ).numpy()

    def check_shared(self, images):
        """Raises if rows of the head are not independent in passes that so many images share."""
        rows = images * (self.batch_size // images)
        if rows != self.batch_size:
            checked_num_classes(self.head, self.latent_shape, rows)

    def warm_up(self):
        """Traces and compiles what counts the votes of one image."""
        image = tf.zeros(self.image_shape)
        self.count(image, self.encode(image), [(SELECTION, 1)], seed=0)
        self._latents.warm_up()

    def warm_up_packed(self):
        """Traces and compiles what counts the votes of several images in a pass."""
        image = tf.zeros(self.image_shape)
        stream = noise_stream(0, image, SELECTION)
        self.count_packed([self.encode(image)], [stream], [0], [1])

    def logits_in_graph(self, latents):
        """Returns the head's logits [rows, classes] of latents, noisy or not, a float32 tensor."""
        return self.head(latents, training=False)

    def encode_in_graph(self, image):
        """Returns the float32 latent of one image, a tensor of `image_shape`."""
        return self._latents.in_graph(image)
