"""Pictures among a run's events, as TensorBoard serves them."""

import io
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from ms_keras.training.events import Events, write_picture
from ms_keras.training.steps import StepCounter

RNG = np.random.default_rng(0)


def saved(path, pixels, mode="RGB"):
    Image.fromarray(np.asarray(pixels, np.uint8), "RGB").convert(mode).save(path, "PNG")
    return path


def shown(browser, run, tag):
    """Returns each picture's step and pixels."""
    found = browser.json("images/images", run=run, tag=tag, sample=0)
    pictures = []
    for one in found:
        file, kind = browser.get(
            "images/individualImage", **dict(parse_qsl(one["query"]))
        )
        assert kind == "image/png"
        pictures.append((one["step"], np.asarray(Image.open(io.BytesIO(file)))))
    return pictures


def test_tensorboard_shows_the_pixels_at_the_step(tmp_path, tensorboard):
    events, pixels = tmp_path / "run" / "events", RNG.integers(0, 256, (37, 53, 3))
    write_picture(events, saved(tmp_path / "a.png", pixels), step=700)
    browser = tensorboard(tmp_path)
    tags = browser.json("images/tags")
    assert tags["run/events"]["retrievals"]["samples"] == 1
    ((step, found),) = shown(browser, "run/events", "retrievals")
    assert step == 700
    np.testing.assert_array_equal(found, pixels)


def test_scalars_of_the_same_run_stay(tmp_path, tensorboard):
    class Model:
        class optimizer:
            learning_rate = 0.25

    counter = StepCounter(0, 10)
    scalars = Events(tmp_path / "events", counter)
    scalars.set_model(Model())
    scalars.on_epoch_end(0, {"loss": 1.5})
    path = saved(tmp_path / "a.png", np.zeros((4, 5, 3)))
    write_picture(tmp_path / "events", path, step=10)
    write_picture(str(tmp_path / "events"), str(path), step=10, name="others")
    browser = tensorboard(tmp_path)
    losses = browser.json("scalars/scalars", run="events", tag="round/loss")
    assert [value for _, _, value in losses] == [1.5]
    assert sorted(browser.json("images/tags")["events"]) == ["others", "retrievals"]


def test_a_wide_picture_is_shown_1600_wide_in_its_proportions(tmp_path, tensorboard):
    pixels = np.zeros((300, 4000, 3))
    pixels[:, 2000:] = 255
    write_picture(tmp_path, saved(tmp_path / "a.png", pixels), step=0)
    ((_, found),) = shown(tensorboard(tmp_path), ".", "retrievals")
    assert found.shape == (120, 1600, 3)
    assert np.all(found[:, :790] == 0)
    assert np.all(found[:, 810:] == 255)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_other_kinds_of_png_are_shown_in_their_colours(tmp_path, tensorboard, mode):
    path = saved(tmp_path / "a.png", np.full((8, 8, 3), 102), mode)
    write_picture(tmp_path, path, step=0)
    ((_, found),) = shown(tensorboard(tmp_path), ".", "retrievals")
    np.testing.assert_array_equal(found, np.full((8, 8, 3), 102))


def test_what_is_no_picture_is_told(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(FileNotFoundError):
        write_picture(tmp_path, path, step=0)
    for content in (b"", b"a picture", saved(path, np.zeros((9, 9, 3))).read_bytes()):
        path.write_bytes(content[:40])
        with pytest.raises(ValueError, match=r"PNG file; .*a\.png"):
            write_picture(tmp_path / "events", path, step=0)
    assert not (tmp_path / "events").exists()
