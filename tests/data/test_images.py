"""Decoding against Pillow, and crops that stay in bounds."""

import io

import numpy as np
import pytest
import tensorflow as tf
from conftest import encoded, picture
from PIL import Image, ImageOps

from ms_keras.data import images
from ms_keras.data.images import Augmentation, decode_for_scoring, decode_for_training


def pillow_scoring(data, image_size, short_side):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = short_side / min(image.size)
    size = [int(side * scale + 1e-9) for side in image.size]
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = ((side - image_size) // 2 for side in size)
    image = image.crop((left, top, left + image_size, top + image_size))
    return np.asarray(image, np.float32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(300, 200), (120, 170), (64, 64), (33, 40)])
def test_scoring_agrees_with_pillow_to_two_grey_levels(kind, size):
    data = encoded(picture(1, size), kind)
    image = decode_for_scoring(data, 48, 64).numpy()
    assert image.shape == (48, 48, 3)
    assert np.abs(image - pillow_scoring(data, 48, 64)).mean() < 2


def test_real_photographs_agree_with_pillow_to_two_grey_levels(test_data, tmp_path):
    import tarfile

    with tarfile.open(test_data / "cub200_2011_s160.tar") as tar:
        members = [m for m in tar if m.name.endswith(".jpg")][:5]
        photographs = [tar.extractfile(m).read() for m in members]
    for data in photographs:
        image = decode_for_scoring(data, 112, 128).numpy()
        assert np.abs(image - pillow_scoring(data, 112, 128)).mean() < 2


def on_its_side(orientation, size=(83, 61)):
    """Returns a photograph as a camera stores it, and as it is meant, without loss."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(6, size), "JPEG", exif=exif, subsampling=0)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return data, encoded(upright, "PNG")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_scored_upright(orientation):
    stored, meant = on_its_side(orientation)
    image = decode_for_scoring(stored, 40, 48).numpy()
    assert np.abs(image - decode_for_scoring(meant, 40, 48)).max() < 3
    assert np.abs(image - pillow_scoring(meant, 40, 48)).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("seed", range(3))
def test_photographs_are_trained_on_upright(orientation, seed):
    # Crops of nearly everything: those of either file are nearly the same.
    augmentation = Augmentation(8, min_area=0.98, flip=False)
    stored, meant = on_its_side(orientation, (64, 64))
    crop = decode_for_training(stored, [seed, 0], augmentation).numpy()
    expected = decode_for_scoring(meant, 8, 8).numpy()
    others = [np.rot90(expected, turns) for turns in range(4)]
    others += [other[:, ::-1] for other in others]
    distances = [np.abs(crop - other).mean() for other in others]
    assert np.argmin(distances) == 0
    assert distances[0] < 15


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pillow_training(data, box, image_size, short_side):
    """Resizes the short side, cuts the box of stored pixels scaled likewise, resizes.

    Then turns the result as the file's Exif says.
    """
    image = Image.open(io.BytesIO(data))
    turn = TURNS.get(image.getexif().get(0x0112))
    scale = short_side / min(image.size)
    size = [int(side * scale + 1e-9) for side in image.size]
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    right, down = (new / old for new, old in zip(size, image.size, strict=True))
    top, left, height, width = box
    corners = (left * right, top * down, (left + width) * right, (top + height) * down)
    square = (image_size, image_size)
    crop = small.resize(square, Image.Resampling.BILINEAR, corners)
    if turn is not None:
        crop = crop.transpose(turn)
    return np.asarray(crop, np.float32)


def grainy(size, seed=7):
    """Returns a picture in which it shows whether it was made smaller first."""
    rng = np.random.default_rng(seed)
    pixels = np.asarray(picture(seed, size), np.float32)
    pixels = pixels + rng.normal(scale=40, size=pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "size", "box", "options"),
    [
        ("JPEG", (900, 700), (100, 200, 300, 400), {}),
        ("PNG", (900, 700), (100, 200, 300, 400), {}),
        ("JPEG", (401, 997), (31, 17, 401, 243), {}),
        ("PNG", (401, 997), (613, 203, 213, 160), {}),
        ("JPEG", (500, 150), (0, 90, 150, 199), {}),
        *(("JPEG", (640, 480), (40, 330, 350, 290), {"turned": t}) for t in TURNS),
    ],
)
def test_large_images_are_resized_before_they_are_cropped(
    kind, size, box, options, monkeypatch
):
    """As the paper's code does with Pillow, which the same crop is compared with."""
    exif = Image.Exif()
    exif[0x0112] = options.get("turned", 1)
    data = encoded(grainy(size), kind, exif=exif)
    monkeypatch.setattr(images, "_crop_box", lambda *_: tf.constant(box))
    expected = pillow_training(data, box, 112, 128)

    def distance(augmentation):
        return np.abs(decode_for_training(data, [0, 0], augmentation) - expected).mean()

    ours = distance(Augmentation(112, flip=False, short_side=128))
    assert ours < 2.5
    assert distance(Augmentation(112, flip=False)) > 2 * ours  # cut from it as it is


@pytest.mark.parametrize(
    ("image", "kind", "short_side"),
    [
        (picture(1, (48, 48)).convert("L"), "PNG", 48),  # the built-in drawings
        (grainy((213, 160)), "JPEG", 160),
        (grainy((160, 213)), "JPEG", 224),
        (grainy((90, 60)), "PNG", 60),
    ],
)
def test_an_image_that_is_not_larger_is_cropped_as_it_is(image, kind, short_side):
    data = encoded(image, kind)
    for seed in range(5):
        first, as_it_is = (
            decode_for_training(data, [seed, 0], Augmentation(48, short_side=side))
            for side in (short_side, 0)
        )
        np.testing.assert_array_equal(first, as_it_is)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"),
     ("I;16", "PNG"), ("RGB", "BMP"), ("P", "GIF")],
)  # fmt: skip
def test_any_kind_of_file_gives_three_channels(mode, kind):
    image = picture(2)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    else:
        image = image.convert(mode)
    data = encoded(image, kind)
    scored = decode_for_scoring(data, 32, 32).numpy()
    trained = decode_for_training(data, [0, 0], Augmentation(32, 0.9)).numpy()
    for result in (scored, trained):
        assert result.shape == (32, 32, 3)
        assert result.min() >= 0
        assert result.max() <= 255.001
    if mode == "L":  # grey stays grey
        np.testing.assert_array_equal(scored[..., 0], scored[..., 2])


def test_an_animation_is_no_image():
    frames = [picture(seed).convert("P") for seed in (1, 2)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(tf.errors.OpError, match="animated GIF"):
        decode_for_scoring(data, 16, 16)
    with pytest.raises(tf.errors.OpError, match="animated GIF"):
        decode_for_training(data, [0, 0], Augmentation(16))


@pytest.mark.parametrize(
    "data", [b"", b"GI", b"not an image", b"GIF89a", b"\xff\xd8\xff"]
)
def test_what_is_no_image_is_refused_by_both_decoders(data):
    with pytest.raises(tf.errors.OpError):
        decode_for_scoring(data, 16, 16)
    with pytest.raises(tf.errors.OpError):
        decode_for_training(data, [0, 0], Augmentation(16))


def test_a_short_side_below_the_crop_is_refused_before_any_image_is():
    with pytest.raises(ValueError, match="short_side must be image_size=32 or more"):
        decode_for_scoring(encoded(picture(0)), 32, 31)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_same_seed_gives_the_same_picture_and_others_differ(kind):
    data = encoded(picture(3), kind)
    augmentation = Augmentation(24)
    one, again, other = (
        decode_for_training(data, seed, augmentation).numpy()
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 1


def test_the_fused_crop_of_a_jpeg_is_the_crop_of_the_whole(monkeypatch):
    data = encoded(picture(4, (97, 61)))
    whole = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    lossless = encoded(Image.fromarray(whole.numpy()), "PNG")
    for seed in range(10):
        fused = decode_for_training(data, [seed, 0], Augmentation(32)).numpy()
        sliced = decode_for_training(lossless, [seed, 0], Augmentation(32)).numpy()
        # Chroma is upsampled across the crop's border, or not: nothing else differs.
        assert np.abs(fused - sliced).mean() < 1


def coordinates(width, height):
    """Returns a PNG whose red and green tell the column and the row."""
    rows, columns = np.mgrid[:height, :width]
    return encoded(
        Image.fromarray(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8)), "PNG"
    )


def torchvision_areas(width, height, min_area):
    """Returns shares of the image that torchvision's crops cover, restated."""
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(2000):
        for _ in range(10):
            area = rng.uniform(min_area, 1) * width * height
            ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if w <= width and h <= height:
                areas.append(w * h / (width * height))
                break
        else:
            areas.append(1.0)  # 4:3 is an allowed ratio
    return areas


@pytest.mark.parametrize("short_side", [0, 100])
def test_crops_have_the_areas_ratios_and_places_asked_for(short_side):
    data = coordinates(200, 150)
    areas, ratios, mirrored = [], [], 0
    for seed in range(300):
        augmentation = Augmentation(64, 0.25, short_side=short_side)
        crop = decode_for_training(data, [seed, 7], augmentation).numpy()
        columns, rows = crop[0, :, 0], crop[:, 0, 1]
        mirrored += columns[0] > columns[-1]
        width = abs(columns[-1] - columns[0]) * 64 / 63
        height = (rows[-1] - rows[0]) * 64 / 63
        areas.append(width * height / (200 * 150))
        ratios.append(width / height)
    assert 0.23 < min(areas) < 0.3
    assert 0.8 < max(areas) < 1.03
    assert abs(np.mean(areas) - np.mean(torchvision_areas(200, 150, 0.25))) < 0.04
    assert 0.7 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.45
    assert 120 < mirrored < 180


def test_plain_crops_are_squares_of_one_size_anywhere():
    data, places = coordinates(200, 150), []
    for seed in range(200):
        augmentation = Augmentation(64, flip=False, short_side=100, plain=True)
        crop = decode_for_training(data, [seed, 3], augmentation).numpy()
        columns, rows = crop[0, :, 0], crop[:, 0, 1]
        # 64 of 100 resized pixels are 96 of the short side's 150.
        assert abs((columns[-1] - columns[0]) * 64 / 63 - 96) < 1.5
        assert abs((rows[-1] - rows[0]) * 64 / 63 - 96) < 1.5
        places.append((columns[0], rows[0]))
    lowest, highest = np.min(places, axis=0), np.max(places, axis=0)
    assert (lowest < 4).all()
    assert (highest > [200 - 96 - 4, 150 - 96 - 4]).all()
    assert (highest < [200 - 96 + 2, 150 - 96 + 2]).all()


def test_no_flip_means_none():
    data = coordinates(80, 60)
    for seed in range(20):
        crop = decode_for_training(data, [seed, 0], Augmentation(16, flip=False))
        assert crop[0, 0, 0] < crop[0, -1, 0]


@pytest.mark.parametrize("size", [(500, 2), (2, 500), (1, 1)])
def test_extreme_shapes_give_a_picture(size):
    data = encoded(picture(5, size), "PNG")
    assert decode_for_training(data, [0, 0], Augmentation(8)).shape == (8, 8, 3)
    assert decode_for_scoring(data, 8, 9).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "image_size"),
        ((8, 0.0), "min_area"),
        ((8, 1.5), "min_area"),
        ((8, 0.16, True, 7), "short_side"),
        ((8, 0.16, True, 0, True), "short_side"),
    ],
)
def test_senseless_augmentation_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(*arguments)
