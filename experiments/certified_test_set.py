"""Which test images are certified, and their certification into a file, one by one."""

import pathlib
import re

from experiments.datasets import fingerprint_of
from lsrs_tf.evaluation import multiply_adds
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.progress import progress
from lsrs_tf.records.journal import Journal


def evenly_spread(num_test, num_images):
    """Returns the indices of the test images to certify.

    Args:
        num_test: int, size of the test set.
        num_images: int, how many to take, or None for all.

    Returns:
        Increasing list of int.
    """
    if num_images is None:
        return list(range(num_test))
    if not 1 <= num_images <= num_test:
        raise ValueError(
            f"--num_images must lie between 1 and the size of the test set, {num_test}. "
            f"Received: {num_images}"
        )
    return [index * num_test // num_images for index in range(num_images)]


def parsed_shard(text):
    """Returns (index, count) of a shard such as '2/4', the second of four, or None for None.

    Raises:
        ValueError: if it is not such a text, or the index is not one of 1 to count.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(f"--shard must be like 2/4, the second of four. Received: --shard={text}")
    return index, count


def of_shard(indices, shard):
    """Returns the test images that fall to a shard.

    Args:
        indices: list of int.
        shard: (index, count), or None for all.
    """
    if shard is None:
        return indices
    index, count = shard
    return indices[index - 1 :: count]


def shard_path(path, shard):
    """Returns where a shard writes by default: 'certified.2of4.tsv' next to 'certified.tsv'."""
    path = pathlib.Path(path)
    if shard is None:
        return path
    return path.with_name(f"{path.stem}.{shard[0]}of{shard[1]}{path.suffix}")


def file_and_images(data, num_images, shard, path, outfile):
    """Returns where a command writes, and for which test images.

    Args:
        data: `datasets.ImageData`.
        num_images: int, or None for all, see `evenly_spread`.
        shard: str such as '2/4', or None.
        path: `pathlib.Path` of the file in the folder of the run.
        outfile: str, the file that was asked for, or None.

    Returns:
        (the file, increasing list of int).
    """
    part = parsed_shard(shard)
    indices = of_shard(evenly_spread(data.num_test, num_images), part)
    return outfile or shard_path(path, part), indices


def certify_test_images(certifier, model, data, path, replaced, indices):
    """Certifies test images into a file, leaving out those that it holds already.

    Args:
        certifier: `lsrs_tf.Certifier`.
        model: `LatentSmoothingModel`, the certifier's, for its fingerprint.
        data: `datasets.ImageData`.
        path: the certification file.
        replaced: str such as '9/18', the fraction of layers that is orthogonal, for the file.
        indices: increasing list of int, which test images; the file may hold no others.
    """
    with Journal(path, settings_of(certifier, model, data, replaced)) as file:
        missing = missing_images(file.done, indices, data, path)
        certifier.warm_up()
        about = {}
        certificates = progress(
            certifier.certificates_of(_test_images(missing, data, about)),
            desc="certify",
            unit="image",
            total=len(indices),
            initial=len(indices) - len(missing),
            smoothing=0.05,
        )
        for index, certificate, seconds in certificates:
            append(file, index, *about.pop(index), certificate, seconds)
        file.sort()


def settings_of(certifier, model, data, replaced):
    """Returns the settings of a certification file, dict of column to value.

    Args:
        certifier: as for `certify_test_images`, as are the others.
        model: `LatentSmoothingModel`.
        data: `datasets.ImageData`.
        replaced: str.
    """
    # Each in the form of its column, see `lsrs_tf.records.schema`.
    return {
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "replaced": replaced,
        **certifier.columns(),
        **_costs(certifier),
        "model": fingerprint(model),
    }


def append(file, index, label, fingerprint_of_image, certificate, seconds):
    """Writes the row of a test image.

    Args:
        file: `Journal`.
        index: int, the place of the image in its test set.
        label: int, its true class.
        fingerprint_of_image: str, see `datasets.fingerprint_of`.
        certificate: `lsrs_tf.certification.certificate.Certificate`.
        seconds: float, time that went into it.
    """
    file.append(
        index,
        label,
        certificate.label,
        certificate.radius,
        seconds,
        {**certificate.columns(), "image_fingerprint": fingerprint_of_image},
    )


def _costs(certifier):
    """Returns what a certificate costs, for the file; of networks that cannot be counted, None.

    It is what runs, which depends on the settings: --noise=logits has another head than the model.
    """
    if certifier.settings.method == "margin":
        once, sample = certifier.base_classifier.network, None
    else:
        once, sample = certifier.classifier.encoder, certifier.classifier.head
    return {
        "multiply_adds_per_image": _counted(once),
        "multiply_adds_per_sample": None if sample is None else _counted(sample),
    }


def _counted(network):
    try:
        return multiply_adds(network)
    except ValueError:
        return None


def missing_images(done, indices, data, path):
    """Returns the test images that a file does not hold yet, after a check of those it holds.

    Args:
        done: dict of index to record, what the file holds.
        indices: increasing list of int, which test images; the file may hold no others.
        data: `datasets.ImageData`.
        path: the file, for messages.

    Raises:
        FileExistsError: if the file holds other images of the test set.
        ValueError: if it holds images of other data, see `check_images`.
    """
    if done:
        print(f"{path} holds {len(done)} images already.")
    others = sorted({*done} - {*indices})
    if others:
        raise FileExistsError(
            f"{path} also holds {len(others)} images (such as {others[0]}) that are not among "
            "those asked for now; together they would not be an even choice of the test set. "
            "Give the --num_images and --shard it was begun with, or another --outfile."
        )
    check_images(done.values(), data, path)
    return [index for index in indices if index not in done]


def check_images(records, data, path):
    """Raises if records are of other images than those of a data set.

    Each row holds the fingerprint of its own image. So what is read again is what was certified,
    not a whole test set, which would take minutes where that is large.

    Args:
        records: iterable of `Record`; those of earlier versions have no fingerprint, and only their
            labels are looked at.
        data: `datasets.ImageData`.
        path: their file, for the message.

    Raises:
        ValueError: if an image, or its label, is another one.
    """
    by_index = {record.idx: record for record in records}
    indices = sorted(by_index)
    if indices and indices[-1] >= data.num_test:
        raise ValueError(
            f"{path} holds image {indices[-1]}, but there are {data.num_test} test images."
        )
    for index, (image, label) in zip(indices, data.test(indices), strict=True):
        record = by_index[index]
        before = record.label, record.value("image_fingerprint")
        now = int(label), fingerprint_of(image)
        if before != (now[0], before[1] and now[1]):
            raise ValueError(
                f"{path} is about other images: its image {index} has label {before[0]} and "
                f"fingerprint {before[1]}, that of {data.name} here has {now[0]} and {now[1]}. "
                "Give the data that it was begun with, or another --outfile."
            )


def _test_images(indices, data, about):
    """Yields indices and test images; notes (label, fingerprint) of each on the way."""
    for index, (image, label) in zip(indices, data.test(indices), strict=True):
        about[index] = int(label), fingerprint_of(image)
        yield index, image
