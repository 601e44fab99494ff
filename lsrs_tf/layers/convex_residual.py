import math

import keras


@keras.saving.register_keras_serializable("lsrs_tf")
class ConvexResidual(keras.layers.Layer):
    """Residual connection that keeps Lipschitz constants: `a * branch(x) + (1 - a) * shortcut(x)`.

    Source: LS-RS paper, section 4, figure 2b. The weight `a = sigmoid(logit)` is trained and lies
    in (0, 1). A convex combination of L-Lipschitz maps is L-Lipschitz; it is not an isometry, even
    when branch and shortcut are.

    Args:
        branch: a `keras.layers.Layer` or `keras.Model`.
        shortcut: the same, or None for the identity. Its output must have the branch's shape.
        initial_branch_weight: float in (0, 1), the value of `a` before training. Outputs of branch
            and shortcut that differ partly cancel; a small value loses less of the input.

    Input shape: whatever branch and shortcut take. Output shape: that of the branch.

    Examples:
        >>> branch = keras.Sequential([layers.OrthogonalConv2D(4, 3), layers.GroupSort()])
        >>> layers.ConvexResidual(branch)(np.ones((1, 8, 8, 4), "float32")).shape
        TensorShape([1, 8, 8, 4])
    """

    def __init__(self, branch, shortcut=None, initial_branch_weight=0.5, **kwargs):
        super().__init__(**kwargs)
        for name, layer in (("branch", branch), ("shortcut", shortcut)):
            if not isinstance(layer, keras.Layer) and not (name == "shortcut" and layer is None):
                raise ValueError(
                    f"Argument `{name}` of {type(self).__name__} must be a Keras layer or model. "
                    f"Received: {name}={layer!r}"
                )
        if not 0 < initial_branch_weight < 1:
            raise ValueError(
                f"Argument `initial_branch_weight` of {type(self).__name__} must lie strictly "
                f"between 0 and 1. Received: {initial_branch_weight!r}"
            )
        self.initial_branch_weight = float(initial_branch_weight)
        self.branch = branch
        self.shortcut = shortcut

    def build(self, input_shape):
        """Builds branch and shortcut, and creates `logit`."""
        for layer in (self.branch, self.shortcut):
            if layer is not None and not layer.built:
                layer.build(input_shape)
        branch_shape = tuple(self.branch.compute_output_shape(input_shape))
        shortcut_shape = tuple(
            input_shape
            if self.shortcut is None
            else self.shortcut.compute_output_shape(input_shape)
        )
        if branch_shape != shortcut_shape:
            raise ValueError(
                f"{type(self).__name__} needs a branch and a shortcut of one output shape. "
                f"Received: branch {branch_shape}, shortcut {shortcut_shape}"
            )
        # Pinned: at another size this would be another map, with another Lipschitz constant.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        odds = self.initial_branch_weight / (1 - self.initial_branch_weight)
        self.logit = self.add_weight(
            name="logit",
            shape=(),
            initializer=keras.initializers.Constant(math.log(odds)),
            autocast=False,
        )
        self.built = True

    def call(self, inputs):
        """Returns the convex combination for `inputs`."""
        branch = self.branch(inputs)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs)
        weight = keras.ops.sigmoid(keras.ops.convert_to_tensor(self.logit))
        weight = keras.ops.cast(weight, branch.dtype)
        shortcut = keras.ops.cast(shortcut, branch.dtype)
        return shortcut + weight * (branch - shortcut)

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        return self.branch.compute_output_shape(input_shape)

    def get_config(self):
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "branch": serialize(self.branch),
            "shortcut": None if self.shortcut is None else serialize(self.shortcut),
            "initial_branch_weight": self.initial_branch_weight,
        }

    @classmethod
    def from_config(cls, config):
        """Returns the layer that `get_config` described."""
        restore = keras.saving.deserialize_keras_object
        shortcut = config["shortcut"]
        return cls(
            **{
                **config,
                "branch": restore(config["branch"]),
                "shortcut": None if shortcut is None else restore(shortcut),
            }
        )
