"""Hand-made protocols and scores to show, and a browser to show them in."""

import io
import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.retrieval.embedding import Embedded
from ms_keras.retrieval.page.write import write_page
from ms_keras.retrieval.recall import best_positive_ranks, recall_of_ranks
from ms_keras.retrieval.scores import Scored, Scores

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


def jpeg(seed, side=40):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def image_set(labels, class_names, name="/photos/a", broken=(), same_image=False):
    count = 1 if same_image else len(labels)
    files = [b"no image" if i in broken else jpeg(i) for i in range(count)]
    table = tf.constant(files)
    return ImageSet(
        labels=np.asarray(labels, np.int64),
        class_names=tuple(class_names),
        read=lambda index: table[index % count],
        image_name=lambda index: f"{name}/{index}.jpg",
    )


def embedded(rows, skipped=()):
    rows = np.asarray(rows, np.float32)
    kept = np.setdiff1d(np.arange(len(rows)), skipped)
    return Embedded(kept, {"trained": rows[kept]})


@pytest.fixture(scope="session")
def make():
    """Returns a protocol, its scores and a report, of rows and labels."""

    def make(
        rows,
        labels,
        class_names,
        *,
        gallery=None,
        gallery_labels=None,
        skipped=(),
        broken=(),
        same_image=False,
        ks=(1, 2),
    ):
        test = image_set(labels, class_names, broken=broken, same_image=same_image)
        queries = embedded(rows, skipped)
        sides = [queries.rows["trained"], test.labels[queries.indices]]
        other, found_in = None, None
        if gallery is not None:
            other = image_set(gallery_labels, class_names, "/photos/b")
            found_in = embedded(gallery)
            sides += [found_in.rows["trained"], other.labels]
        ranks = best_positive_ranks(*sides)
        found_in_count = len(ranks) - 1 if gallery is None else len(gallery)
        scores = Scores(ranks, recall_of_ranks(ranks, ks), found_in_count, len(skipped))
        scored = Scored(queries, found_in, {"trained": scores})
        report = {
            "protocol": "hand-made",
            "recall": {str(k): recall for k, recall in scores.recall.items()},
            **scores.counts(),
        }
        return Protocol("hand-made", test, test, other, ks), scored, report

    return make


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    for program in (CHROMIUM, CHROMEDRIVER):
        if not os.access(program, os.X_OK):
            pytest.skip(f"{program} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(CHROMEDRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


class Page:
    """What a person sees of a page, and does with it."""

    def __init__(self, driver):
        self.driver = driver

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def queries(self):
        """Returns name and remark of each query in the window."""
        return [
            tuple(pair)
            for pair in self.run(
                "return [...document.querySelectorAll('.query .about')].map(about =>"
                " [...about.querySelectorAll('strong, span')].map(e => e.textContent))"
            )
        ]

    def kinds(self):
        """Returns `right` or `wrong` of the neighbours of each query in the window."""
        return self.run(
            "return [...document.querySelectorAll('.query')].map(row =>"
            " [...row.querySelectorAll('.found .tile')].map(t => t.classList[1]))"
        )

    def wait(self, script):
        deadline = time.monotonic() + 10
        while not self.run(f"return {script}"):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)

    def scroll_to_queries(self):
        self.run("document.getElementById('queries').scrollIntoView()")

    def sort_by(self, kind):
        self.one(f'#sort option[value="{kind}"]').click()


@pytest.fixture
def opened(driver, tmp_path):
    """Opens a page: one that is written, or made of protocol, scores and report."""

    def opened(made):
        path = made if isinstance(made, pathlib.Path) else write_page(tmp_path, *made)
        driver.get_log("browser")
        driver.get(path.as_uri())
        return Page(driver)

    yield opened
    assert driver.get_log("browser") == []
    loaded = driver.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [url for url in loaded if not url.startswith(("file:", "data:"))] == []
