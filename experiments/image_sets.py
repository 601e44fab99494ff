"""What a report says where its runs are about different images."""


def other_images_line(records, subject, mark):
    """Returns a line that says if images are not the same everywhere, or an empty text.

    Args:
        records: dict of name to list of records of certificates.
        subject: str, the beginning of the sentence, up to "different images".
        mark: str, what stands for a name in the picture.
    """
    images = {
        name: frozenset((record.extra.get("data"), record.idx) for record in found)
        for name, found in records.items()
    }
    if len(set(images.values())) < 2:
        return ""
    numbers = ", ".join(f"{name}: {len(found)}" for name, found in images.items())
    return (
        f"\n{subject} different images ({numbers}), so that a {mark} above another may be one of "
        "easier images.\n"
    )
