import dataclasses
import math

import numpy as np

from lsrs_tf.layers import LipschitzConv2D
from lsrs_tf.lipschitz.evaluation import LARGEST_SIZE, Evaluation
from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound
from lsrs_tf.lipschitz.layer_properties import number_of_values
from lsrs_tf.lipschitz.linear_maps import LinearMap, fold
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, product


@dataclasses.dataclass(frozen=True)
class Magnitude:
    """How large values get for images with pixels in [0, 1], and how far rounding takes them.

    Attributes:
        size: float, bound of the L2 norm of the exact values.
        error: float, bound of the L2 norm of what rounding in float64 has made of them; infinite
            where sizes are unknown, or so large that a step may overflow.
        interval: (low, high) of single values, or None if not known.
    """

    size: float
    error: float
    interval: tuple | None = None

    @classmethod
    def of_images(cls, shape):
        """Returns the magnitude of images of a shape with the batch dimension."""
        size = math.sqrt(number_of_values(shape))
        return cls(size, 0.0 if math.isfinite(size) else math.inf, (0.0, 1.0))

    def through(self, evaluation, shape, interval=None):
        """Returns the magnitude after a layer.

        Args:
            evaluation: `Evaluation` of the layer.
            shape: tuple with the batch dimension, of its output.
            interval: function of `LayerBound.interval`, or None.
        """
        known = self.interval is not None and interval is not None
        ends = interval(*self.interval) if known else None
        size = evaluation.lipschitz * self.size + evaluation.offset
        if ends is not None:
            size = min(size, math.sqrt(number_of_values(shape)) * max(map(abs, ends)))
        error = (
            evaluation.lipschitz * self.error
            + evaluation.relative * (self.size + self.error)
            + evaluation.absolute
        )
        return _checked(size, error, ends)

    def smaller_of_both(self, other):
        """Returns what two proofs about the same values say together."""
        size, error = min(self.size, other.size), min(self.error, other.error)
        return Magnitude(size, error, self.interval if other.interval is None else other.interval)

    @classmethod
    def merged(cls, magnitudes):
        """Returns the magnitude of sums, averages or concatenations of values."""
        size = sum(magnitude.size for magnitude in magnitudes)
        error = sum(magnitude.error for magnitude in magnitudes)
        rounding = (len(magnitudes) + 1) * UNIT_ROUNDOFF * (size + error)
        return _checked(size, error + rounding, None)

    def combined(self, other, weight):
        """Returns the magnitude of weight * self + (1 - weight) * other, as ConvexResidual has it.

        Args:
            other: `Magnitude`.
            weight: float in [0, 1]; that of the computation may be off by a few roundings.
        """
        sizes = self.size + other.size + self.error + other.error
        error = weight * self.error + (1 - weight) * other.error
        return _checked(max(self.size, other.size), error + 32 * UNIT_ROUNDOFF * sizes, None)


def _checked(size, error, interval):
    # Comparisons with NaN are false. What is added covers the rounding of the bounds themselves.
    fits = size + error < LARGEST_SIZE
    return Magnitude(size * (1 + 1e-12), error * (1 + 1e-12) if fits else math.inf, interval)


class Flow:
    """The shapes that run through the layers of a model, as those of a real image of zeros.

    Keras' symbolic shapes are not always those that run: a layer may repeat a small input and say
    otherwise, a model may take images of another number of channels than its own. Bounds depend on
    shapes, so that every shape here is that of a real output, compared with the symbolic one.

    Attributes:
        shape: tuple, the shape with the batch dimension, None for what is unknown.
    """

    def __init__(self, shape):
        self.shape = (None, *shape[1:])

    @property
    def _zeros(self):
        return None if None in self.shape[1:] else np.zeros((1, *self.shape[1:]), np.float32)

    def merged_with(self, others, layer):
        """Returns the flow out of a layer that takes this one and others."""
        flows = [self, *others]
        symbolic = tuple(layer.compute_output_shape([flow.shape for flow in flows]))
        if all(flow._zeros is not None for flow in flows):
            _check_output(layer, symbolic, layer([flow._zeros for flow in flows]).shape)
        return Flow(symbolic)

    def through(self, layer):
        """Returns the flow out of a layer with one input."""
        symbolic = tuple(layer.compute_output_shape(self.shape))
        if isinstance(layer, LipschitzConv2D):
            # These pin the shapes they take, and would cost much to run.
            self._check(layer, layer.input_spec.shape)
        elif self._zeros is not None:
            _check_output(layer, symbolic, layer(self._zeros).shape)
        return Flow(symbolic)

    def check_enters(self, model):
        """Raises if a model is built for other images than these."""
        self._check(model, model.inputs[0].shape)

    def _check(self, layer, shape):
        sizes = tuple(shape[1:])
        fits = len(sizes) == len(self.shape) - 1 and all(
            size in (None, here) for size, here in zip(sizes, self.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"'{layer.name}' ({type(layer).__name__}) is built for inputs of shape "
                f"{tuple(shape)}, for which its bound would hold. Received: inputs of shape "
                f"{self.shape}. Build it for these."
            )


def _check_output(layer, symbolic, shape):
    if tuple(symbolic[1:]) != tuple(shape[1:]) or shape[0] != 1:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) repeats its input: an image gives "
            f"values of shape {tuple(shape)}, where Keras expects {tuple(symbolic)}. No bound "
            "holds for it at this size; build it for the size of its input."
        )


@dataclasses.dataclass(frozen=True)
class _Chain:
    """Linear layers, one after the other, that are bounded as one map.

    Attributes:
        start: `Passage` into the first of them.
        linear_map: `LinearMap`, their product.
        evaluation: `Evaluation` of all of them.
        names: tuple of str, the layers that are more than an identity.
    """

    start: "Passage"
    linear_map: LinearMap
    evaluation: Evaluation
    names: tuple


@dataclasses.dataclass(frozen=True)
class Passage:
    """What is known at one place between two layers, of all that lies before it.

    Attributes:
        flow: `Flow`, the shape here.
        bound: float, Lipschitz bound of the map from the images, or from the beginning of a branch.
        magnitude: `Magnitude` of the values here.
    """

    flow: Flow
    bound: float
    magnitude: Magnitude
    _chain: _Chain | None = None
    # Where chains that end here were settled: a value may go to several layers.
    _settled: list = dataclasses.field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of_images(cls, shape):
        """Returns the passage into a model whose images have this shape, batch included."""
        return cls(Flow(shape), 1.0, Magnitude.of_images(shape))

    @classmethod
    def merged(cls, layer, bound, passages):
        """Returns the passage out of a layer with several inputs and this bound from the images."""
        flow = passages[0].flow.merged_with([passage.flow for passage in passages[1:]], layer)
        magnitude = Magnitude.merged([passage.magnitude for passage in passages])
        return cls(flow, bound, magnitude)

    @property
    def shape(self):
        """Tuple, the shape here with the batch dimension."""
        return self.flow.shape

    def restarted(self):
        """Returns the passage into a branch, whose bound is that of the branch alone."""
        return dataclasses.replace(self, bound=1.0, _settled=[])

    def combined(self, bound, branch, shortcut, weight):
        """Returns the passage out of a convex combination of branches that begin here.

        Args:
            bound: float, Lipschitz bound of the combination.
            branch: `Passage` out of the branch.
            shortcut: `Passage` out of the shortcut.
            weight: float, that of the branch.
        """
        magnitude = branch.magnitude.combined(shortcut.magnitude, weight)
        return Passage(branch.flow, product([self.bound, bound]), magnitude)

    def through(self, layer, layer_bound, name, rows):
        """Returns the passage out of a layer.

        Args:
            layer: Keras layer.
            layer_bound: its `LayerBound`.
            name: str, its name in the report.
            rows: `ReportRows`, to which rows of chains that end here are added.
        """
        flow = self.flow.through(layer)
        linear_map = layer_bound.linear_map
        folded = None
        if self._chain is not None and linear_map is not None:
            folded = fold(self._chain.linear_map, linear_map)
        start = self if folded is not None else self.settled(rows)
        outgoing = Passage(
            flow,
            product([start.bound, layer_bound.bound]),
            start.magnitude.through(layer_bound.evaluation, flow.shape, layer_bound.interval),
        )
        if linear_map is None:
            return outgoing
        names = () if layer_bound.method.startswith("identity") else (name,)
        if folded is None:
            chain = _Chain(start, linear_map, layer_bound.evaluation, names)
        else:
            chain = _Chain(
                self._chain.start,
                folded,
                self._chain.evaluation.then(layer_bound.evaluation),
                (*self._chain.names, *names),
            )
        outgoing = dataclasses.replace(outgoing, _chain=chain)
        if layer_bound.slope is None:
            return outgoing
        return outgoing.settled(rows, layer_bound.slope)

    def settled(self, rows, slope=1.0):
        """Returns this passage with the bound of the chain that ends here, if that is smaller.

        Args:
            rows: `ReportRows`, to which one for the chain is added.
            slope: float, Lipschitz constant of an activation behind the chain.
        """
        if self._chain is None or len(self._chain.names) < 2:
            return dataclasses.replace(self, _chain=None, _settled=[])
        if not self._settled:
            self._settled.append(self._with_bound_of_chain(rows, slope))
        return self._settled[0]

    def _with_bound_of_chain(self, rows, slope):
        chain = self._chain
        norm, smallest, method = chain.linear_map.norm()
        norm = product([norm, slope])
        bound = product([chain.start.bound, norm])
        if not bound < self.bound:
            return dataclasses.replace(self, _chain=None, _settled=[])
        name = f"{chain.names[0]} .. {chain.names[-1].split('/')[-1]}"
        evaluation = chain.evaluation.with_lipschitz(norm)
        layer_bound = LayerBound(
            norm,
            BOUNDED,
            f"replaces the rows of this chain: {method}",
            smallest,
            evaluation=evaluation,
        )
        rows.add(name, layer_bound)
        magnitude = chain.start.magnitude.through(evaluation, self.flow.shape)
        return Passage(self.flow, bound, magnitude.smaller_of_both(self.magnitude))
