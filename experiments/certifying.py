"""Certifies test images and writes them down one by one."""

from tqdm import tqdm

from lsrs_tf.models.fingerprint import fingerprint
from lsrs_tf.records import reading
from lsrs_tf.records.journal import Journal
from lsrs_tf.smoothing.images import checked_image


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


def certify_test_images(certifier, model, data, path, replaced, indices):
    """Certifies test images into a file, leaving out those that it holds already.

    Args:
        certifier: of `lsrs_tf.smoothing.certification.make_certifier`.
        model: `LatentSmoothingModel`, the certifier's, for its fingerprint.
        data: `datasets.ImageData`.
        path: the certification file.
        replaced: str such as '9/18', the fraction of layers that is orthogonal, for the file.
        indices: increasing list of int, which test images; the file may hold no others.
    """
    classifier = certifier.classifier
    settings = {
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "replaced": replaced,
        "method": certifier.method,
        "target_radii": "-" if certifier.target_radii is None else _list(certifier.target_radii),
        "tolerance": "-" if certifier.tolerance is None else certifier.tolerance,
        "sigma": classifier.sigma,
        "n0": certifier.n0,
        "n": certifier.n,
        "alpha": certifier.alpha,
        "against": certifier.against,
        "seed": certifier.seed,
        "noise": classifier.noise.name,
        "shared_noise": int(certifier.shared_noise),
        "radius_loss": classifier.radius_loss,
        "lipschitz": classifier.lipschitz,
        "model": fingerprint(model),
    }
    with Journal(path, settings, reading.RESULTS) as file:
        if file.done:
            print(f"{path} holds {len(file.done)} images already.")
        others = sorted({*file.done} - {*indices})
        if others:
            raise FileExistsError(
                f"{path} also holds {len(others)} images (such as {others[0]}) that are not among "
                "those to certify now; together they would be no even choice of the test set. "
                "Give the --num_images and --shard it was begun with, or write elsewhere."
            )
        missing = [index for index in indices if index not in file.done]
        classifier.warm_up()
        labels = {}
        certificates = tqdm(
            certifier.certify_each(_checked(missing, data, classifier.image_shape, labels)),
            desc="certify",
            unit="image",
            total=len(indices),
            initial=len(indices) - len(missing),
            smoothing=0.05,
        )
        for index, certificate, seconds in certificates:
            file.append(
                index,
                labels.pop(index),
                certificate.label,
                certificate.radius,
                seconds,
                {
                    "clean": certificate.clean_label,
                    "p_lower": repr(certificate.p_lower),
                    "samples": certificate.samples,
                    "selection_counts": _list(certificate.selection_counts),
                    "counts": _list(certificate.counts),
                },
            )
        file.sort()


def _checked(indices, data, image_shape, labels):
    """Yields indices and checked test images, and notes their labels on the way."""
    for index, (image, label) in zip(indices, data.test(indices), strict=True):
        labels[index] = int(label)
        yield index, checked_image(image, image_shape, index)


def _list(counts):
    return ",".join(str(count) for count in counts)
