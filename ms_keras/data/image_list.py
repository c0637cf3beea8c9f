"""The protocol of list files: an image path and its label on each line."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from ms_keras.data.class_split import choose_test_classes
from ms_keras.data.files import file_set, folder, missing_files, split_by_class
from ms_keras.data.protocol import Protocol

Lines = list[tuple[str, str]]


def image_list(
    data_dir: str,
    train_list: str,
    test_list: str,
    gallery_list: str,
    test_classes: str,
    ks: tuple[int, ...],
) -> Protocol:
    """Reads list files.

    A line is `path label`, the label being what follows the last white space, or
    `path,label` with any further columns ignored. Labels may be any strings.

    Args:
        data_dir: The folder that paths in the lists are relative to.
        train_list: File of the training images.
        test_list: File of the test images, the queries; if empty, `train_list` is
            split by class.
        gallery_list: File of the images to search in; if empty, each test image is
            searched among the others.
        test_classes: Which classes test, if `test_list` is empty (see
            `choose_test_classes`; classes are in alphabetical, or numerical, order).
        ks: The K of Recall@K to report.

    Raises:
        ValueError: If a list or an image is missing, a line has no label, or a list is
            empty; or as `choose_test_classes`.
    """
    root = folder(data_dir)
    train = _read(root, train_list, "--train_list")
    if not test_list:
        if gallery_list:
            raise ValueError("--gallery_list needs a --test_list of queries.")
        names, labels = _classes(train)
        chosen = choose_test_classes(names, test_classes)
        paths = [path for path, _ in train]
        return Protocol(
            root.name, *split_by_class(paths, labels, names, chosen), None, ks
        )
    test = _read(root, test_list, "--test_list")
    gallery = _read(root, gallery_list, "--gallery_list") if gallery_list else []
    train_names, train_labels = _classes(train)
    names, labels = _classes(test + gallery)  # one numbering for queries and gallery
    queries, others = np.split(labels, [len(test)])
    return Protocol(
        name=root.name,
        train=file_set([path for path, _ in train], train_labels, train_names),
        test=file_set([path for path, _ in test], queries, names),
        gallery=file_set([path for path, _ in gallery], others, names)
        if gallery
        else None,
        ks=ks,
    )


def _read(root: pathlib.Path, name: str, flag: str) -> Lines:
    if not name:
        raise ValueError(f"{flag} is missing: name a file of lines `path label`.")
    file = pathlib.Path(os.path.expanduser(name))
    if not file.is_file() and (root / name).is_file():
        file = root / name  # lists often lie beside the images
    if not file.is_file():
        raise ValueError(f"{flag}={name}: no such file, nor in --data_dir={root}.")
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    parsed = [
        _parsed(line, f"{flag}={name}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not parsed:
        raise ValueError(f"{flag}={name} is empty; expected lines `path label`.")
    images = [(os.path.join(root, path), label) for path, label in parsed]
    _check_files([path for path, _ in images], f"{flag}={name}")
    return images


def _parsed(line: str, where: str) -> tuple[str, str]:
    parts = line.split(",") if "," in line else line.rsplit(maxsplit=1)
    parts = [part.strip() for part in parts]
    if len(parts) < 2 or not all(parts[:2]):
        raise ValueError(
            f"{where}: expected `path label` or `path,label`; got {line!r}."
        )
    return parts[0], parts[1]


def _check_files(paths: list[str], where: str) -> None:
    """Refuses a list of which files are missing."""
    missing = missing_files(paths)
    if missing:
        raise ValueError(
            f"{where}: {len(missing)} of {len(paths)} images do not exist, first "
            f"{', '.join(missing[:3])}. Is --data_dir the folder the list means?"
        )


def _classes(lines: Lines) -> tuple[list[str], np.ndarray]:
    """Returns the class names in order and an id per line."""
    names = sorted({label for _, label in lines})
    if all(name.lstrip("-").isdigit() for name in names):
        names = sorted(names, key=int)
    ids = {name: i for i, name in enumerate(names)}
    return names, np.array([ids[label] for _, label in lines])
