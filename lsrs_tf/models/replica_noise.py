import keras
import tensorflow as tf


class ReplicaNoise(keras.layers.GaussianNoise):
    """Noise that differs between the replicas of a `tf.distribute.Strategy`.

    Keras' own layer draws from a state that every replica has a copy of, so that the first image of
    each replica gets the same noise, and so on. With one replica this layer draws as Keras' does.
    """

    def call(self, inputs, training=False):
        """Returns inputs with noise in training, and inputs elsewhere."""
        context = tf.distribute.get_replica_context()
        replicas = 1 if context is None else context.num_replicas_in_sync
        if not training or replicas == 1:
            return super().call(inputs, training=training)
        # A seed and the number of the draw. The draws of all replicas are numbered in turn.
        state = tf.cast(self.seed_generator.next(), tf.int64)
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        seed = tf.stack([state[0], state[1] * replicas + replica])
        noise = tf.random.stateless_normal(tf.shape(inputs), seed, dtype=inputs.dtype)
        return inputs + self.stddev * noise
