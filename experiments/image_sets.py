"""What a report says where its runs are about different images."""


def other_images_line(images, subject, mark):
    """Returns a line that says if images are not the same everywhere, or an empty text.

    Args:
        images: dict of name to frozenset of the indices of images.
        subject: str, the beginning of the sentence, up to "different images".
        mark: str, what stands for a name in the picture.
    """
    if len(set(images.values())) < 2:
        return ""
    numbers = ", ".join(f"{name}: {len(indices)}" for name, indices in images.items())
    return (
        f"\n{subject} different images ({numbers}), so that a {mark} above another may be one of "
        "easier images.\n"
    )
