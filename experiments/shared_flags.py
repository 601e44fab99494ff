"""Flags that several commands share, in groups. A command defines the groups that it reads.

Only what a command reads is defined there, so that a flag without a meaning is an error. The groups
may be defined by several commands in one process.
"""

from absl import flags

from lsrs_tf.attacks.methods import METHODS as ATTACKS
from lsrs_tf.certification.settings import AGAINST, METHODS
from lsrs_tf.sampling.cast_head import HEAD_DTYPES
from lsrs_tf.sampling.noise import NOISE_MODELS

# So that --help shows the flags as those of the command that asks for them.
flags.disclaim_key_flags()


def define_data():
    """Defines the flags of commands that read a data set."""
    _define(
        flags.DEFINE_string,
        "data_dir",
        None,
        "Folder of tensorflow-datasets; by default its own.",
    )
    _define(
        flags.DEFINE_boolean,
        "download",
        False,
        "Let tensorflow-datasets fetch a data set that is missing.",
    )
    _define(
        flags.DEFINE_integer,
        "seed",
        0,
        "Seed of initial weights, shuffling and certification noise.",
    )
    _define(
        flags.DEFINE_integer,
        "num_images",
        None,
        "Test images to certify, spread evenly over the test set; by default all.",
    )


def define_alpha():
    """Defines the flag of the error probability."""
    _define(
        flags.DEFINE_float, "alpha", 0.001, "Probability, at most, that a certificate is wrong."
    )


def define_against():
    """Defines the flag of commands that turn votes into radii."""
    _define(
        flags.DEFINE_enum,
        "against",
        "half",
        AGAINST,
        "half: radii by which a class keeps more than half of the votes; runner_up, for "
        "--method=fixed: by which it keeps more than any other class.",
    )


def define_samples():
    """Defines the flags of commands that certify, or write what certifies."""
    define_alpha()
    _define(
        flags.DEFINE_integer,
        "n0",
        100,
        "Noisy samples that select the class to certify.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_integer,
        "n",
        100_000,
        "Noisy samples that estimate the probability of the selected class.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_integer,
        "certify_batch_size",
        256,
        "Noisy samples in one pass of the head.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_enum,
        "noise",
        "float32",
        NOISE_MODELS,
        "float32: customary noise, whose rounding is not in the proof; exact: noise on a grid, for "
        "certificates that include all rounding; logits: that of float32 for heads of one dense "
        "layer, of as many numbers as there are classes, which is faster.",
    )
    define_head_dtype()


def define_head_dtype():
    """Defines the flag of commands that run the head as it is, or cast."""
    _define(
        flags.DEFINE_enum,
        "head_dtype",
        None,
        HEAD_DTYPES,
        "Cast the head for its passes, which is faster where the processor has units for it; the "
        "certificates are those of the cast head. By default it is as it was trained.",
    )


def define_method():
    """Defines the flags of commands that certify: how samples are taken."""
    define_samples()
    define_against()
    _define(
        flags.DEFINE_enum,
        "method",
        "fixed",
        METHODS,
        "fixed: --n samples of every image prove the largest radius they can; sequential: as many "
        "as it takes to settle --target_radii, or for a radius within --tolerance; --n at most; "
        "margin: no samples, certificates of the base classifier from the margins of its logits, "
        "which certify, certify_beam and validate take for runs that were trained with --sigma=0, "
        "unless they are given this flag or a --sigma.",
    )
    _define(
        flags.DEFINE_list,
        "target_radii",
        None,
        "Radii to certify at, such as 0.25,0.5, for --method=sequential.",
    )
    _define(
        flags.DEFINE_float,
        "tolerance",
        None,
        "How much smaller than with --n samples radii may be, for --method=sequential without "
        "targets.",
    )
    _define(
        flags.DEFINE_integer,
        "images_per_draw",
        1,
        "Images that share their noise in a pass, for --method=fixed; 16 saves most of its time.",
        lower_bound=1,
    )


def define_attack(method):
    """Defines the flags of commands that attack.

    Args:
        method: str, the attack by default.
    """
    _define(flags.DEFINE_enum, "attack", method, ATTACKS, "The attack; pgd needs a radius.")
    _define(
        flags.DEFINE_enum,
        "classifier",
        None,
        ["base", "smoothed"],
        "base: the classifier without noise, that of --method=margin; smoothed: by majority. By "
        "default the one that the run trains for: base where its sigma is 0.",
    )
    _define(
        flags.DEFINE_integer,
        "steps",
        None,
        "Steps of each start of an attack; by default those of the attack.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_integer,
        "restarts",
        1,
        "Starts of each attack, the best of which counts.",
        lower_bound=1,
    )
    _define(flags.DEFINE_float, "radius", None, "L2 radius of --attack=pgd, pixels in [0, 1].")
    _define(
        flags.DEFINE_integer,
        "draws",
        32,
        "Draws of the noise for each gradient of a smoothed classifier.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_integer,
        "predict_n",
        1_000,
        "Noisy samples of a prediction of the smoothed classifier.",
        lower_bound=1,
    )


def define_export():
    """Defines the flags of commands that export."""
    define_samples()
    _define(
        flags.DEFINE_integer,
        "predict_n",
        1_000,
        "Noisy samples of the signature predict_smoothed.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_integer,
        "max_n",
        None,
        "The most samples of a certify_with request; by default --n.",
        lower_bound=1,
    )
    _define(
        flags.DEFINE_list,
        "served_radii",
        [],
        "Radii that certify_at tests without rounding them up, in addition to multiples of 0.25.",
    )
    _define(
        flags.DEFINE_boolean,
        "margin",
        False,
        "Serve certify_margin in addition: proofs for the classifier without noise, for which the "
        "head needs a bound, too. Models of --sigma=0 are exported with that alone.",
    )
    _define(
        flags.DEFINE_enum,
        "resize",
        None,
        ["bilinear", "area", "crop"],
        "What becomes of JPEG, PNG and BMP files of another size than that of the input, which are "
        "refused by default; crop: the largest central part of the right shape, then bilinear.",
    )
    _define(
        flags.DEFINE_boolean,
        "xla",
        False,
        "Compile passes of the head; the server then needs a flag, which is printed.",
    )


def certification_settings():
    """Returns the settings of the flags of `define_method`, keyword arguments of a certifier."""
    flag = flags.FLAGS
    return {
        "method": flag.method,
        "target_radii": number_list("target_radii"),
        "tolerance": flag.tolerance,
        "n0": flag.n0,
        "n": flag.n,
        "alpha": flag.alpha,
        "against": flag.against,
        "seed": flag.seed,
        "batch_size": flag.certify_batch_size,
        "noise": flag.noise,
        "head_dtype": flag.head_dtype,
        "images_per_draw": flag.images_per_draw,
    }


def certification_settings_of(model):
    """Returns `certification_settings`, by margins where nothing else is possible.

    That is for a model without noise, if flags give neither a noise nor a method. It is printed.

    Args:
        model: `LatentSmoothingModel`, that of a run.
    """
    flag = flags.FLAGS
    settings = certification_settings()
    if model.sigma == 0 and flag.sigma is None and not flag["method"].present:
        print(
            "The run was trained with --sigma=0, so that there is no noise to smooth with: "
            "certifying its base classifier, by --method=margin.",
            flush=True,
        )
        settings["method"] = "margin"
    elif model.sigma == 0 and flag.sigma:
        print(
            f"The run was trained without noise, and is smoothed with --sigma={flag.sigma}: expect "
            "few certificates.",
            flush=True,
        )
    return settings


def number_list(name):
    """Returns a flag of words, separated by commas, as floats; None if it is not given.

    Args:
        name: str, the flag.

    Raises:
        ValueError: if a word is not a number.
    """
    given = flags.FLAGS[name].value
    if given is None:
        return None
    try:
        return [float(word) for word in given]
    except ValueError as error:
        raise ValueError(
            f"--{name} must be numbers, separated by commas, such as 0.25,0.5. "
            f"Received: {','.join(given)}"
        ) from error


def _define(define, name, default, *details, **options):
    if name not in flags.FLAGS:
        define(name, default, *details, **options)
    flags.declare_key_flag(name)
