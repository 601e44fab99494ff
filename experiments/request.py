r"""Asks a server for certificates of image files, or compares two versions on them.

    python -m experiments.request --server=localhost:8500 --model_name=digits --image=cat.png
    python -m experiments.request --server=http://localhost:8501 --model_name=digits \
        --image=cat.png,dog.jpg --radius=0.25

Without a radius the answers are the certified radii, with the samples of the export; with one,
whether labels are certain up to it. With --compare_version or --compare_server both versions are
asked with the same --seed, --n and --alpha, and the differences are printed.

    python -m experiments.request --server=localhost:8500 --model_name=digits --version=1 \
        --compare_version=2 --image=cat.png,dog.jpg --n=1000

The images are JPEG, PNG or BMP files; certificates are about the pixels that the server makes of
them. If one is refused, the command says below the table what the reasons can be, and ends with
the exit status 4. Answers to --margin do not tell refusals from abstentions.
"""

import pathlib
import sys
import time

from absl import flags

from experiments import command_line, shared_flags
from export.client import Client
from export.comparison import compare
from lsrs_tf.evaluation import markdown_table, rounded_down

flags.DEFINE_string(
    "server", None, "Address: localhost:8500 for gRPC, http://localhost:8501 for REST."
)
flags.DEFINE_string("model_name", None, "Name of the model on the server.")
flags.DEFINE_integer("version", None, "Version to ask; by default the server's.", lower_bound=1)
flags.DEFINE_list("image", None, "Image files, separated by commas.")
flags.DEFINE_float("radius", None, "L2 radius to test, in units of pixels in [0, 1].")
flags.DEFINE_boolean("margin", False, "Ask for certificates by margins.")
flags.DEFINE_integer("compare_version", None, "Version to compare with.", lower_bound=1)
flags.DEFINE_string("compare_server", None, "Address of the server to compare with.")
flags.DEFINE_integer("seed", 0, "Seed of the noise of a comparison.")
flags.DEFINE_integer("n", 1_000, "Noisy samples of a comparison.", lower_bound=1)
flags.DEFINE_integer("timeout", 60, "Seconds that a request may take.", lower_bound=1)
shared_flags.define_alpha()
flags.adopt_module_key_flags(command_line)

# Flags that mean something only where versions are compared.
_OF_COMPARISONS = ("seed", "n", "alpha")
_REFUSED = "refused"


def make_client(server, version):
    """Returns a `Client` of the interface that an address names.

    Args:
        server: str, such as 'localhost:8500' or 'http://localhost:8501'.
        version: int, or None for the server's.
    """
    flag = flags.FLAGS
    over = Client.over_rest if "://" in server else Client.over_grpc
    return over(server, flag.model_name, flag.timeout, version)


def read_files(names):
    """Returns the contents of files, list of bytes; raises OSError if one is not there."""
    return [pathlib.Path(name).read_bytes() for name in names]


def answer_table(client, names, files):
    """Returns a table of the answers about files, str, and how many were refused, int.

    Args:
        client: `Client`.
        names: list of str.
        files: list of bytes.
    """
    flag, rows = flags.FLAGS, []
    for name, file in zip(names, files, strict=True):
        start = time.perf_counter()
        if flag.radius is not None:
            answer = client.certify_at([file], flag.radius)
            outcome = "yes" if answer.robust[0] else "no"
        else:
            answer = client.certify_margin([file]) if flag.margin else client.certify([file])
            outcome = rounded_down(answer.radius[0].item(), 4)
        milliseconds = 1000 * (time.perf_counter() - start)
        # Answers about margins do not tell refusals from abstentions.
        samples = "-" if flag.margin else str(answer.samples[0])
        label = str(answer.label[0]) if answer.label[0] >= 0 else _without_label(answer)
        rows.append([name, label, outcome, samples, f"{milliseconds:.1f}"])
    question = "radius" if flag.radius is None else f"certain up to {flag.radius!r}"
    refused = sum(label == _REFUSED for _, label, *_ in rows)
    return markdown_table(["image", "label", question, "samples", "ms"], rows), refused


def comparison_table(first, second, files):
    """Returns a table of what two versions answer differently, str, and how many were refused."""
    flag = flags.FLAGS
    found = compare(first, second, files, seed=flag.seed, n=flag.n, alpha=flag.alpha).summary()
    rows = [[what, f"{value:.4g}"] for what, value in found.items()]
    refused = found["refused by one only"] + found["refused by both"]
    return markdown_table(["difference", "value"], rows), refused


def _without_label(answer):
    samples = getattr(answer, "samples", None)
    return _REFUSED if samples is not None and samples[0] == 0 else "abstains"


def _about_refused(refused, images, compares):
    """Returns what to say of images that were refused, str.

    Args:
        refused: int, how many.
        images: int, of how many.
        compares: bool, whether versions were compared.
    """
    flag = flags.FLAGS
    reasons = ["the file does not decode, or is of a kind or size that the export does not take"]
    if flag.radius is not None:
        reasons.append(f"the radius {flag.radius!r} is negative or beyond what n samples prove")
    if compares:
        reasons.append(f"--n={flag.n} is above what the export allows")
        reasons.append(f"--alpha={flag.alpha!r} is not between 1e-100 and 1")
    return (
        f"Refused: {refused} of {images}. What the reasons can be: {'; or '.join(reasons)}. The "
        "limits are in assets.extra/model_card.md of the version."
    )


def _check_flags(compares):
    """Raises if flags ask for several things at once, or for something that is not done."""
    flag = flags.FLAGS
    if [flag.radius is not None, flag.margin, compares].count(True) > 1:
        raise ValueError(
            "Give one of --radius, --margin and a version or server to compare with: each is "
            "another question."
        )
    given = [name for name in _OF_COMPARISONS if not flag[name].using_default_value]
    if given and not compares:
        raise ValueError(
            "Without a version to compare with, the settings are those of the export. Received: "
            f"{', '.join(f'--{name}={flag[name].value}' for name in given)}. Leave them out, or "
            "give --compare_version or --compare_server."
        )


def main(argv):
    """Asks and prints."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    compares = flag.compare_server is not None or flag.compare_version is not None
    _check_flags(compares)
    files = read_files(flag.image)
    client = make_client(flag.server, flag.version)
    if compares:
        other = make_client(flag.compare_server or flag.server, flag.compare_version)
        table, refused = comparison_table(client, other, files)
    else:
        table, refused = answer_table(client, flag.image, files)
    print(table)
    if refused:
        print(f"\n{_about_refused(refused, len(files), compares)}")
        sys.exit(command_line.REFUSED)


if __name__ == "__main__":
    command_line.run(main, required=["server", "model_name", "image"])
