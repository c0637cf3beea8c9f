"""The page in a headless browser: as a person uses it, without a network."""

import re
import time

import numpy as np
import pytest

from ms_keras.retrieval.page import write
from ms_keras.retrieval.page.write import write_page

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

EVIL = [
    "<img src=x onerror=window.hurt=1>",
    "</script><script>window.hurt=1</script>",
    '" onfocus="window.hurt=1" autofocus \'&amp;',
    "Stra\u00dfe \u4e2d\u6587 \u00c9toile",
]


@pytest.fixture(scope="module")
def birds(make):
    """45 queries of three classes, among them some that are found and some not."""
    rng = np.random.default_rng(1)
    labels = np.arange(45) % 3
    rows = np.eye(3)[labels] + rng.normal(scale=0.6, size=(45, 3))
    return make(rows, labels, ["Great_Tit", "Blue_Tit", "wren"])


@pytest.fixture(scope="module")
def birds_page(birds, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("birds"), *birds)


def test_the_window_shows_queries_with_what_they_find(opened, birds, birds_page):
    page = opened(birds_page)
    ranks = birds[1].scores["trained"].ranks
    assert page.one("#status").text == "45 queries"
    shown = page.queries()
    assert len(shown) == 20
    worst = sorted(ranks, reverse=True)[:20]
    told = ["found first" if rank == 1 else f"first right: {rank}" for rank in worst]
    assert [remark for _, remark in shown] == told
    for kinds, rank in zip(page.kinds(), worst, strict=True):
        assert len(kinds) == 10
        assert ("right" in kinds) == (rank <= 10)
        if rank <= 10:
            assert kinds.index("right") == rank - 1
    page.scroll_to_queries()
    page.wait("document.querySelector('.found img').naturalWidth > 0")
    wrong, right = (page.one(f".found .tile.{kind}") for kind in ("wrong", "right"))
    assert wrong.value_of_css_property("border-top-style") == "dashed"
    assert right.value_of_css_property("border-top-style") == "solid"
    cross = "return getComputedStyle(arguments[0], '::after').content"
    assert page.run(cross, wrong) == '""'
    assert page.run(cross, right) == "none"


def test_typing_a_name_filters(opened, birds_page):
    page = opened(birds_page)
    page.one("#search").send_keys("tIT blue")
    assert {name for name, _ in page.queries()} == {"Blue Tit"}
    assert page.one("#status").text == "15 of 45 queries"
    page.one("#search").send_keys("x")
    assert page.queries() == []
    page.one("#clear").click()
    assert page.one("#status").text == "45 queries"
    assert page.one("#search").get_attribute("value") == ""


def test_wrong_only_leaves_those_whose_nearest_is_wrong(opened, birds, birds_page):
    page = opened(birds_page)
    page.one("#wrong").click()
    ranks = birds[1].scores["trained"].ranks
    assert 0 < (ranks > 1).sum() <= 20
    assert page.one("#status").text == f"{(ranks > 1).sum()} of 45 queries"
    assert all(kinds[0] == "wrong" for kinds in page.kinds())


def test_a_query_with_nothing_to_find_comes_last_and_is_not_wrong(opened, make):
    rows = np.eye(3)[[0, 0, 1, 2, 2]] + 0.01 * np.arange(5)[:, np.newaxis]
    page = opened(make(rows, [0, 0, 1, 2, 2], ["ant", "bee", "cat"]))
    assert page.queries()[-1] == ("bee", "nothing to find")
    page.one("#wrong").click()
    assert page.queries() == []


def test_sorting_by_class_and_at_random_by_a_seed(opened, birds_page):
    page = opened(birds_page)
    page.sort_by("class")
    names = [name for name, _ in page.queries()]
    assert names == ["Blue Tit"] * 15 + ["Great Tit"] * 5
    page.sort_by("random")

    def order(seed):
        page.run(
            "const seed = document.getElementById('seed'); seed.value = arguments[0];"
            "seed.dispatchEvent(new Event('input'))",
            seed,
        )
        return page.run(
            "return [...document.querySelectorAll('[role=rowheader]')]"
            ".map(cell => Number(cell.dataset.query))"
        )

    first, other = order(1), order(2)
    assert first == order(1) != other
    assert len(set(first)) == 20
    assert len(set(first) | set(other)) > 20


def test_a_confused_pair_shows_as_many_queries_as_it_counts(opened, birds_page):
    page = opened(birds_page)
    pairs = page.all(".ranking button[data-found]")
    assert pairs
    for pair in pairs:
        name, other = (
            part.text for part in pair.find_elements("css selector", ".name span")
        )
        count = pair.find_element("css selector", ".share").text.split(" of ")[0]
        page.run("arguments[0].scrollIntoView({block: 'center'})", pair)
        pair.click()
        assert page.one("#status").text == f"{count} of 45 queries"
        assert {shown for shown, _ in page.queries()} == {name}
        nearest = page.all(".query .found .cell:first-child")
        for cell in nearest:
            assert cell.get_attribute("aria-label").startswith(
                other.lstrip("→ ") + ": wrong"
            )
        assert pair.get_attribute("aria-pressed") == "true"
    page.one("#chosen").click()
    assert page.one("#status").text == "45 queries"


def test_a_class_shows_its_queries(opened, birds_page):
    page = opened(birds_page)
    page.one(".ranking button:not([data-found])").click()
    assert page.one("#status").text == "15 of 45 queries"
    assert len({name for name, _ in page.queries()}) == 1


def test_pages_turn_and_stop_at_the_ends(opened, birds_page):
    page = opened(birds_page)
    first = page.queries()
    assert not page.one("#previous").is_enabled()
    page.one("#next").click()
    assert page.queries() != first
    page.one("#next").click()
    assert len(page.queries()) == 5
    assert not page.one("#next").is_enabled()
    page.one("#page").send_keys(Keys.CONTROL, "a", Keys.NULL, "1", Keys.ENTER)
    assert page.queries() == first
    assert page.one("#pages").text == "of 3"


def test_everything_works_by_keyboard(opened, birds_page):
    page = opened(birds_page)
    active = "return document.activeElement"

    def tab_until(selector):
        for _ in range(60):
            page.press(Keys.TAB)
            if page.run(f"{active}.matches(arguments[0])", selector):
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_until("#search")
    page.press("wren")
    assert page.one("#status").text == "15 of 45 queries"
    tab_until("#grid .cell")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.run(outline) == "solid"
    place = f"{active}.dataset.place"
    page.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert page.run(place) == "1"
    assert "similarity" in page.one("#tip").text
    page.press(Keys.END)
    assert page.run(place) == "10"
    page.press(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.one("#enlarged").is_displayed()
    assert page.one("#enlarged-title").text == "Neighbour 2 of 10"
    page.press(Keys.ARROW_RIGHT)
    assert page.one("#enlarged-title").text == "Neighbour 3 of 10"
    page.press(Keys.ESCAPE)
    assert not page.one("#enlarged").is_displayed()
    assert page.run(place) == "2"


def test_page_keys_turn_pages_in_the_grid(opened, birds_page):
    page = opened(birds_page)
    first = page.queries()
    page.run("document.querySelector('.cell').focus()")
    page.press(Keys.PAGE_DOWN)
    assert page.one("#page").get_attribute("value") == "2"
    assert page.run("return document.activeElement.classList.contains('cell')")
    page.press(Keys.PAGE_UP)
    assert page.queries() == first


def test_hovering_tells_class_and_similarity(opened, birds_page):
    page = opened(birds_page)
    cell = page.one(".found .cell:nth-child(2)")
    page.run("arguments[0].scrollIntoView({block: 'center'})", cell)
    ActionChains(page.driver).move_to_element(cell).perform()
    name, similarity = cell.get_attribute("aria-label").split(": ")
    assert page.one("#tip").text.split("\n") == [name, similarity]


def test_names_are_inert(opened, make):
    labels = np.arange(16) % 4
    rows = np.random.default_rng(0).normal(size=(16, 4))
    page = opened(make(rows, labels, EVIL))
    page.sort_by("class")
    assert {name for name, _ in page.queries()} == set(EVIL)
    page.one("#search").send_keys("etoile")
    assert {name for name, _ in page.queries()} == {EVIL[3]}
    page.one("#search").clear()
    page.one("#search").send_keys("script")
    page.one(".cell").click()
    assert EVIL[1] in page.one("#enlarged").text
    assert page.run("return window.hurt") is None
    assert len(page.all("script:not([type])")) == 1


def test_unreadable_images_have_a_placeholder(opened, make, monkeypatch):
    rows, labels = np.eye(2)[[0, 0, 1, 1]], [0, 0, 1, 1]
    page = opened(make(rows, labels, ["ant", "bee"], broken=[1]))
    page.scroll_to_queries()
    page.wait("document.querySelectorAll('.cell .tile.missing').length == 4")
    assert (
        len(page.run("return [...document.querySelectorAll('.cell img[src]')]")) == 12
    )


def test_thumbnails_beside_the_page_are_shown(opened, birds, monkeypatch):
    monkeypatch.setattr(write, "_INSIDE", 10)
    page = opened(birds)
    page.scroll_to_queries()
    page.wait("document.querySelector('.found img').naturalWidth > 0")
    assert page.all(".tile.missing") == []
    assert "thumbnails-" in page.one(".found img").get_attribute("src")


def test_a_narrow_window_does_not_scroll_sideways(opened, birds_page):
    page = opened(birds_page)
    size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    width = page.run("return document.documentElement.scrollWidth")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width <= 360


def test_colours_follow_the_preference_for_dark(opened, birds_page):
    page = opened(birds_page)
    brightness = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": features}
        )
        colours = page.run(
            "const style = getComputedStyle(document.body);"
            "return [style.backgroundColor, style.color]"
        )
        brightness[scheme] = [
            sum(int(part) for part in re.findall(r"\d+", colour)[:3])
            for colour in colours
        ]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    back, text = brightness["light"]
    assert back > text + 500
    back, text = brightness["dark"]
    assert text > back + 500


def test_ten_thousand_queries_do_not_freeze_the_page(opened, make, monkeypatch):
    rng = np.random.default_rng(0)
    count, classes = 10_000, 100
    labels = np.arange(count) % classes
    rows = rng.normal(size=(classes, 16))[labels] + rng.normal(size=(count, 16))
    names = [f"class {i:03}" for i in range(classes)]
    made = make(rows, labels, names, same_image=True)
    one = next(write.thumbnails(made[0].test, np.zeros(1, int), "one"))
    monkeypatch.setattr(write, "_jpegs", lambda *_: (one for _ in range(count)))
    start = time.monotonic()
    page = opened(made)
    assert page.one("#status").text == "10,000 queries"
    assert time.monotonic() - start < 60  # with scoring and writing
    timing = page.run("return performance.getEntriesByType('navigation')[0].toJSON()")
    assert timing["domInteractive"] < 5000
    assert page.all("img[src]") == []  # nothing before the queries are in view
    page.scroll_to_queries()
    page.wait("document.querySelector('.found img').naturalWidth > 0")
    assert len(page.all("img")) <= 20 * 11
    near = page.run("return document.querySelectorAll('.cell img[src]').length")
    assert near < 20 * 11  # rows far below the screen have not asked for theirs
    longest = page.run(
        """
        const search = document.getElementById("search");
        let longest = 0;
        for (const text of ["0", "04", "042", "", "class 07"]) {
          const start = performance.now();
          search.value = text;
          search.dispatchEvent(new Event("input"));
          document.body.offsetHeight;  // waits for the layout
          longest = Math.max(longest, performance.now() - start);
        }
        return longest;
        """
    )
    assert longest < 2000
    fitting = sum("07" in name for name in names) * count // classes
    assert page.one("#status").text == f"{fitting:,} of 10,000 queries"
    assert len(page.all("img")) <= 20 * 11
