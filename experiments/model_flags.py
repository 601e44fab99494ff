"""The flags that choose and size the network of a training."""

from absl import flags

from experiments import fitting
from lsrs_tf import layers

flags.DEFINE_enum("model", None, fitting.MODELS, "Architecture.")
flags.DEFINE_integer(
    "orthogonal_layers",
    None,
    "Layers that are orthogonal: 0 (input space smoothing); for convnet up to 2; for resnet18 1, "
    "3, 5, ... 17; for wide_resnet34 1, 2, 4, ... 34; for compact_resnet any number. Not for the "
    "other models.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "width",
    None,
    "Channels of the first stage (convnet, resnet18, orthogonal_convnet) or of the backbone "
    "(fars_tiny, fars_small), or size of the head (compact_resnet).",
    lower_bound=1,
)
flags.DEFINE_integer(
    "depth",
    None,
    "Residual convolutions of fars_tiny or fars_small; convolutions of a stage of "
    "orthogonal_convnet.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "dense_depth", None, "Dense residual layers of fars_tiny or fars_small.", lower_bound=0
)
flags.DEFINE_multi_integer(
    "head_units",
    None,
    "Values of a hidden layer in the head of fars_tiny, fars_small or orthogonal_convnet; can be "
    "given several times. Without it the head of fars_tiny and fars_small is linear, and that of "
    "orthogonal_convnet orthogonal.",
    lower_bound=1,
)
flags.DEFINE_boolean(
    "orthogonal_head",
    None,
    "Orthonormal rows in the last layer of fars_tiny or fars_small, as --loss=offset_crossentropy "
    "needs; by default a dense layer.",
)
flags.DEFINE_integer("widen_factor", None, "Widening of wide_resnet34.", lower_bound=1)
flags.DEFINE_enum(
    "parametrization",
    "cayley",
    layers.PARAMETRIZATIONS,
    "Kind of the encoder's convolutions; for fars_tiny and fars_small of the entry convolution.",
)
flags.DEFINE_integer(
    "downsampling",
    None,
    "Height and width of the blocks of pixels that become channels of the latent, for "
    "compact_resnet; by default 4.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "residual",
    None,
    ["none", "convex"],
    "Encoder of compact_resnet: a chain that begins near the identity, or blocks with convex "
    "residuals; by default a chain.",
)
flags.DEFINE_enum("head", None, ["resnet", "dense"], "Head of compact_resnet; by default resnet.")

# What sizes a model, in addition to its number of orthogonal layers.
SIZES = (
    "width",
    "widen_factor",
    "depth",
    "dense_depth",
    "head_units",
    "orthogonal_head",
    "downsampling",
    "residual",
    "head",
)
NAMES = ("model", "orthogonal_layers", *SIZES, "parametrization")


def sizes_of_flags():
    """Returns the arguments that size the model, see `fitting.sizes_of`."""
    flag = flags.FLAGS
    return fitting.sizes_of(
        flag.model, flag.orthogonal_layers, **{name: getattr(flag, name) for name in SIZES}
    )
