"""A served model under load, and how long a request takes.

    python -m experiments.benchmarks.serving runs/digits_ls/saved_model/1 --grpc=localhost:8500

Takes the size of the images from the folder of the version, and sends random ones to the server
that serves it. `certify_with` is asked from one client, for the milliseconds that 1,000 noisy
samples take, then from many at once; `certify_margin`, if the version has it, with one image and
with several from one client and from many. Answers to equal requests must be equal; any other is
wrong.

With --keras_model, the file of the exported model, images per second of `certify` and `certify_at`
are measured in addition, by 1, 4 and --clients clients that send one image at a time, and as a
ratio to a `Certifier` of this process with the settings of the version, measured just before.
"""

import concurrent.futures
import itertools
import pathlib
import time

import keras
import numpy as np
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians
from export.answers import ServingError
from export.client import Client
from export.model_card import read_model_card
from export.saved_model_file import read_signatures
from lsrs_tf import Certifier
from lsrs_tf.evaluation import markdown_table

flags.DEFINE_string("grpc", None, "Address of the gRPC interface, such as localhost:8500.")
flags.DEFINE_string("rest", None, "Address of the REST interface, such as http://localhost:8501.")
flags.DEFINE_string("served_name", None, "Name on the server; by default that of the model card.")
flags.DEFINE_integer("clients", 16, "Clients at once.", lower_bound=1)
flags.DEFINE_integer("seconds", 60, "How long they ask.", lower_bound=1)
flags.DEFINE_integer("request_n", 1_000, "Noisy samples of a request.", lower_bound=2)
flags.DEFINE_string("keras_model", None, "Keras file of the model, for the ratio to this process.")
flags.DEFINE_float("request_radius", 0.25, "Radius of certify_at.", lower_bound=0.0)
flags.DEFINE_integer("request_timeout", 60, "Seconds that a request may take.", lower_bound=1)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)

_IMAGES, _ALPHA = 8, 0.001
_THROUGHPUT = ["interface", "signature", "clients", "wrong", "lost", "served", "here", "ratio"]
_COLUMNS = ["clients", "answers", "wrong", "lost", "requests / s", "p50 (ms)", "p99 (ms)"]


def milliseconds_per_thousand(client, image, n, rounds):
    """Returns what 1,000 more samples of an image add to a request, in milliseconds."""
    medians = interleaved_medians(
        {
            samples: lambda samples=samples: client.certify_with(image, 0, samples, _ALPHA)
            for samples in (1, n)
        },
        rounds,
    )
    return 1e6 * (medians[n] - medians[1]) / (n - 1)


def load(make_client, images, ask, rows, clients, seconds, fresh=False):
    """Asks from several clients at once.

    Args:
        make_client: function without arguments, a `Client`.
        images: float32 array [images, height, width, channels].
        ask: function of a client and some images, a data class of arrays.
        rows: int, images of a request.
        clients: int.
        seconds: float.
        fresh: bool, whether the noise is fresh, so that answers differ: those are wrong then that
            took no samples.

    Returns:
        (seconds of every answer, number of wrong ones, list of errors).
    """
    expected = vars(ask(make_client(), images))
    ends = time.monotonic() + seconds

    def ask_on(number):
        client, taken, wrong, errors = make_client(), [], 0, []
        row = number
        while time.monotonic() < ends:
            chosen = np.arange(row, row + rows) % len(images)
            start = time.perf_counter()
            try:
                found = vars(ask(client, images[chosen]))
            except ServingError as error:
                errors.append(str(error))
                continue
            taken.append(time.perf_counter() - start)
            wrong += not (
                np.all(found["samples"] > 0)
                if fresh
                else all(
                    np.array_equal(found[name], value[chosen]) for name, value in expected.items()
                )
            )
            row += 1
        return taken, wrong, errors

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        taken, wrong, errors = zip(*pool.map(ask_on, range(clients)), strict=True)
    return np.concatenate(taken), sum(wrong), sum(errors, [])


def report(address, make_client, images):
    """Returns a row of the table on `certify_with` of one interface, a list of str."""
    flag = flags.FLAGS
    per_thousand = milliseconds_per_thousand(make_client(), images[:1], flag.request_n, flag.rounds)
    figures = _figures(
        make_client,
        images,
        lambda client, images: client.certify_with(images, 0, flag.request_n, _ALPHA),
        1,
        flag.clients,
    )
    return [address, *figures, f"{per_thousand:.1f}"]


def report_margins(address, make_client, images):
    """Returns rows of the table on `certify_margin` of one interface, lists of str."""
    return [
        [
            address,
            str(rows),
            *_figures(
                make_client,
                images,
                lambda client, images: client.certify_margin(images),
                rows,
                clients,
            ),
        ]
        for rows in (1, _IMAGES)
        for clients in (1, flags.FLAGS.clients)
    ]


def report_throughput(address, make_client, images, settings):
    """Returns rows on `certify` and `certify_at` and their ratios to this process, lists of str.

    Args:
        address: str.
        make_client: function without arguments, a `Client`.
        images: float32 array [images, height, width, channels].
        settings: dict, `certificates` of the model card.
    """
    radius, rows = flags.FLAGS.request_radius, []
    asks = {
        "certify": ({}, lambda client, image: client.certify(image)),
        "certify_at": (
            {"method": "sequential", "target_radii": radius},
            lambda client, image: client.certify_at(image, radius),
        ),
    }
    model = keras.saving.load_model(flags.FLAGS.keras_model)
    for name, (method, ask) in asks.items():
        certifier = Certifier(
            model,
            jit_compile=False,
            **{key: settings[key] for key in ("sigma", "n0", "n", "alpha", "noise")},
            **method,
        )
        for clients in sorted({1, 4, flags.FLAGS.clients}):
            here = images_per_second(certifier, images)
            seconds = flags.FLAGS.seconds
            taken, refused, errors = load(make_client, images, ask, 1, clients, seconds, fresh=True)
            served = taken.size / seconds
            cells = [f"{served:.1f}", f"{here:.1f}", f"{served / here:.2f}"]
            rows.append([address, name, *map(str, (clients, refused, len(errors))), *cells])
    return rows


def images_per_second(certifier, images):
    """Returns how many images a certifier of this process certifies in a second."""
    certifier.warm_up()
    start, count = time.monotonic(), 0
    endless = enumerate(itertools.cycle(images))
    for count, _ in enumerate(certifier.certificates_of(endless), 1):  # noqa: B007
        if time.monotonic() > start + flags.FLAGS.seconds:
            break
    return count / (time.monotonic() - start)


def _figures(make_client, images, ask, rows, clients):
    """Returns cells: clients, answers, wrong, lost, requests per second, p50 and p99."""
    seconds = flags.FLAGS.seconds
    taken, wrong, errors = load(make_client, images, ask, rows, clients, seconds)
    median, late = 1000 * np.percentile(taken, [50, 99]) if taken.size else (np.nan, np.nan)
    if errors:
        print(f"First error: {errors[0]}")
    return [
        *map(str, (clients, taken.size, wrong, len(errors))),
        f"{taken.size / seconds:.1f}",
        f"{median:.3g}",
        f"{late:.3g}",
    ]


def interfaces(name):
    """Yields (name of the interface, function that makes a client), those that flags name."""
    flag = flags.FLAGS
    if flag.grpc:
        yield "gRPC", lambda: Client.over_grpc(flag.grpc, name, flag.request_timeout)
    if flag.rest:
        yield "REST", lambda: Client.over_rest(flag.rest, name, flag.request_timeout)


def main(argv):
    """Measures and prints."""
    flag = flags.FLAGS
    if len(argv) != 2 or not (flag.grpc or flag.rest):
        raise ValueError("Give the folder of a version, and --grpc, --rest or both.")
    version = pathlib.Path(argv[1])
    card = read_model_card(version) or {"name": version.resolve().parent.name}
    name = flag.served_name or card["name"]
    signatures = read_signatures(version)
    shape = signatures["predict_clean"].inputs["images"].tensor_shape.dim
    sizes = [dimension.size for dimension in shape[1:]]
    images = np.random.default_rng(0).uniform(size=(_IMAGES, *sizes)).astype(np.float32)
    if "certify_with" in signatures:
        rows = [report(address, make, images) for address, make in interfaces(name)]
        print(f"Requests of one image and {flag.request_n} samples:\n")
        print(markdown_table(["interface", *_COLUMNS, "ms / 1,000 samples"], rows))
    if flag.keras_model is not None:
        rows = [
            row
            for address, make in interfaces(name)
            for row in report_throughput(address, make, images, card["certificates"])
        ]
        print("Images per second, and those of a certifier in this process:\n")
        print(markdown_table(_THROUGHPUT, rows))
    if "certify_margin" in signatures:
        rows = [
            row
            for address, make in interfaces(name)
            for row in report_margins(address, make, images)
        ]
        print("Requests of certify_margin:\n")
        print(markdown_table(["interface", "images", *_COLUMNS], rows))


if __name__ == "__main__":
    command_line.run(main)
