"use strict";
// The queries: filtered and sorted as a list of numbers, of which the page shows a
// window. Names reach the page as text, never as markup.
(() => {
  const WINDOW = 20; // queries on a page

  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { classes, labels, names, ranks, neighbours, similarities } = data;
  const found = neighbours.map((row) => row.filter((image) => image >= 0));
  const state = { words: [], wrong: false, label: -1, found: -1, page: 0 };
  let shown = []; // the queries that fit, in order

  const isWrong = (query) => ranks[query] > 1;
  // The class that is found in place of the query's own, as confusions are counted.
  const mistaken = found.map((row, query) =>
    isWrong(query) ? labels[row.find((image) => labels[image] !== labels[query])] : -1);

  // Thumbnails ---------------------------------------------------------------

  const chunks = document.querySelectorAll("script.thumbnails");
  const parsed = new Map();

  function address(image) {
    if (data.folder) {
      return `${data.folder}/${Math.floor(image / data.inFolder)}/${image}.jpg`;
    }
    const number = Math.floor(image / data.chunk);
    if (!parsed.has(number)) {
      parsed.set(number, JSON.parse(chunks[number].textContent));
    }
    const base64 = parsed.get(number)[image % data.chunk];
    return base64 && `data:image/jpeg;base64,${base64}`;
  }

  function show(tile, image) {
    const picture = tile.querySelector("img") || tile.appendChild(element("img"));
    const source = address(image);
    picture.alt = "";
    picture.decoding = "async";
    tile.classList.toggle("missing", !source);
    picture.onerror = () => tile.classList.add("missing");
    if (source) picture.src = source;
    else picture.removeAttribute("src");
  }

  // A row's images are looked up when it comes near the screen.
  const coming = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      coming.unobserve(entry.target);
      for (const tile of entry.target.querySelectorAll(".tile")) {
        show(tile, Number(tile.dataset.image));
      }
    }
  }, { rootMargin: "300px" });

  // Filtering and sorting ------------------------------------------------------

  const folded = (text) =>
    text.normalize("NFKD").replace(/\p{M}/gu, "").replace(/_/g, " ").toLowerCase();
  const foldedNames = classes.map(folded);

  function randomNumbers(seed) { // mulberry32: short, and the same in every browser
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function order(kind, seed) {
    const queries = ranks.map((_, query) => query);
    // A query with nothing to find has rank 0 and comes last.
    if (kind === "worst") return queries.sort((a, b) => ranks[b] - ranks[a] || a - b);
    if (kind === "class") return queries.sort((a, b) => labels[a] - labels[b] || a - b);
    const random = randomNumbers(seed);
    for (let i = queries.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [queries[i], queries[j]] = [queries[j], queries[i]];
    }
    return queries;
  }

  let ordered = [];

  function sort() {
    const kind = byId("sort").value;
    byId("seed-label").hidden = kind !== "random";
    ordered = order(kind, Number(byId("seed").value) || 0);
    filter();
  }

  function filter() {
    const fits = foldedNames.map((name) => state.words.every((w) => name.includes(w)));
    shown = ordered.filter((query) => {
      if (!fits[labels[query]]) return false;
      if (state.wrong && !isWrong(query)) return false;
      if (state.label >= 0 && labels[query] !== state.label) return false;
      return state.found < 0 || mistaken[query] === state.found;
    });
    turnTo(0);
  }

  function choose(label, other) {
    state.label = label;
    state.found = other;
    const chosen = byId("chosen");
    chosen.hidden = label < 0;
    const name = other < 0 ? classes[label] : `${classes[label]} → ${classes[other]}`;
    chosen.textContent = `${name} ×`;
    chosen.setAttribute("aria-label", `Only ${name}. Show all classes again`);
    for (const button of document.querySelectorAll(".ranking button")) {
      const { label: own, found: its = -1 } = button.dataset;
      const same = Number(own) === label && Number(its) === other;
      button.setAttribute("aria-pressed", String(same));
    }
  }

  function clear() {
    byId("controls").reset();
    state.words = [];
    state.wrong = false;
    choose(-1, -1);
    sort();
  }

  // The window -----------------------------------------------------------------

  const grid = byId("grid");

  function element(tag, name = "", text = "") {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text) made.textContent = text;
    return made;
  }

  const similarity = (query, place) =>
    (similarities[query][place - 1] * data.similarityUnit).toFixed(3);
  const isRight = (query, place) => labels[found[query][place - 1]] === labels[query];

  function told(query) {
    if (!ranks[query]) return "nothing to find";
    return ranks[query] === 1 ? "found first" : `first right: ${ranks[query].toLocaleString("en")}`;
  }

  function describe(query, place) { // place 0 is the query itself
    if (!place) return [classes[labels[query]], `query, ${told(query)}`];
    const verdict = isRight(query, place) ? "right" : "wrong";
    const name = classes[labels[found[query][place - 1]]];
    return [name, `${verdict}, similarity ${similarity(query, place)}, neighbour ${place}`];
  }

  function makeCell(query, place) {
    const cell = element("div", "cell");
    const kind = !place ? "asked" : isRight(query, place) ? "right" : "wrong";
    const tile = cell.appendChild(element("div", `tile ${kind}`));
    tile.dataset.image = place ? found[query][place - 1] : query;
    tile.append(element("img"));
    tile.firstChild.alt = "";
    if (place) cell.append(element("span", "value", similarity(query, place)));
    cell.setAttribute("role", place ? "gridcell" : "rowheader");
    cell.setAttribute("aria-label", describe(query, place).join(": "));
    cell.dataset.query = query;
    cell.dataset.place = place;
    cell.tabIndex = -1;
    return cell;
  }

  function makeRow(query) {
    const row = element("div", "query");
    row.setAttribute("role", "row");
    const about = row.appendChild(element("div", "about"));
    about.append(makeCell(query, 0), element("div"));
    about.lastChild.append(element("strong", "", classes[labels[query]]), element("span", "", told(query)));
    const line = row.appendChild(element("div", "found"));
    line.append(...found[query].map((_, i) => makeCell(query, i + 1)));
    for (const part of [about, about.lastChild, line]) part.setAttribute("role", "presentation");
    return row;
  }

  function turnTo(page) {
    const pages = Math.max(1, Math.ceil(shown.length / WINDOW));
    state.page = Math.min(Math.max(page, 0), pages - 1);
    const first = state.page * WINDOW;
    const rows = shown.slice(first, first + WINDOW).map(makeRow);
    coming.disconnect();
    hideTip();
    grid.replaceChildren(...rows);
    rows.forEach((row) => coming.observe(row));
    if (rows.length) rows[0].querySelector(".cell").tabIndex = 0;
    const count = (number) => number.toLocaleString("en");
    const some = shown.length < ranks.length ? `${count(shown.length)} of ` : "";
    byId("status").textContent = `${some}${count(ranks.length)} queries`;
    byId("page").value = state.page + 1;
    byId("page").max = pages;
    byId("pages").textContent = `of ${count(pages)}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page === pages - 1;
    byId("nothing").hidden = rows.length > 0;
  }

  // Moving in the grid -----------------------------------------------------------

  function focusCell(row, place) {
    const cells = grid.children[row].querySelectorAll(".cell");
    const cell = cells[Math.min(place, cells.length - 1)];
    grid.querySelector('.cell[tabindex="0"]').tabIndex = -1;
    cell.tabIndex = 0;
    cell.focus();
  }

  function turnBy(step, row) { // keeps the focus in the grid
    const before = state.page;
    turnTo(before + step);
    focusCell(state.page === before ? row : 0, 0);
  }

  grid.addEventListener("keydown", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell || event.ctrlKey || event.altKey || event.metaKey) return;
    const place = Number(cell.dataset.place);
    const row = [...grid.children].indexOf(cell.closest(".query"));
    const last = grid.children.length - 1;
    const moves = {
      ArrowRight: () => focusCell(row, place + 1),
      ArrowLeft: () => focusCell(row, Math.max(place - 1, 0)),
      ArrowDown: () => focusCell(Math.min(row + 1, last), place),
      ArrowUp: () => focusCell(Math.max(row - 1, 0), place),
      Home: () => focusCell(row, 0),
      End: () => focusCell(row, Infinity),
      PageDown: () => turnBy(1, row),
      PageUp: () => turnBy(-1, row),
      Enter: () => enlarge(Number(cell.dataset.query), place),
      " ": () => enlarge(Number(cell.dataset.query), place),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });

  grid.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    focusCell([...grid.children].indexOf(cell.closest(".query")), Number(cell.dataset.place));
    enlarge(Number(cell.dataset.query), Number(cell.dataset.place));
  });

  // What is pointed at -------------------------------------------------------------

  const tip = byId("tip");

  function hideTip() {
    tip.hidden = true;
  }

  function showTip(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return hideTip();
    const [name, rest] = describe(Number(cell.dataset.query), Number(cell.dataset.place));
    tip.replaceChildren(element("b", "", name), rest);
    tip.hidden = false;
    const box = cell.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), room);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above < 8 ? box.bottom + 8 : above) + scrollY}px`;
  }

  grid.addEventListener("pointerover", showTip);
  grid.addEventListener("pointerleave", hideTip);
  grid.addEventListener("focusin", showTip);
  grid.addEventListener("focusout", hideTip);

  // The enlarged view ----------------------------------------------------------------

  const dialog = byId("enlarged");
  const view = { query: 0, place: 0 };

  function fill(id, image, kind, lines) {
    const tile = byId(id);
    tile.className = `tile ${kind}`;
    show(tile, image);
    const [name, ...rest] = lines;
    const caption = tile.parentElement.querySelector("figcaption");
    caption.replaceChildren(element("b", "", name), ...rest.map((l) => element("span", "", l)));
  }

  function enlarge(query, place) {
    const count = found[query].length;
    view.query = query;
    view.place = Math.min(Math.max(place, 1), count);
    const image = found[query][view.place - 1];
    byId("enlarged-title").textContent = `Neighbour ${view.place} of ${count}`;
    fill("enlarged-query", query, "asked", [classes[labels[query]], `query, ${told(query)}`, names[query]]);
    if (count) {
      const [name, rest] = describe(query, view.place);
      fill("enlarged-found", image, isRight(query, view.place) ? "right" : "wrong", [name, rest, names[image]]);
    }
    byId("nearer").disabled = view.place <= 1;
    byId("farther").disabled = view.place >= count;
    hideTip();
    if (!dialog.open) dialog.showModal();
  }

  byId("nearer").addEventListener("click", () => enlarge(view.query, view.place - 1));
  byId("farther").addEventListener("click", () => enlarge(view.query, view.place + 1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") enlarge(view.query, view.place - 1);
    if (event.key === "ArrowRight") enlarge(view.query, view.place + 1);
  });

  // Controls ---------------------------------------------------------------------------

  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("search").addEventListener("input", (event) => {
    state.words = folded(event.target.value).split(/\s+/).filter(Boolean);
    filter();
  });
  byId("wrong").addEventListener("change", (event) => {
    state.wrong = event.target.checked;
    filter();
  });
  byId("sort").addEventListener("change", sort);
  byId("seed").addEventListener("input", sort);
  byId("chosen").addEventListener("click", () => {
    choose(-1, -1);
    filter();
    byId("search").focus();
  });
  byId("clear").addEventListener("click", () => {
    clear();
    byId("search").focus();
  });
  byId("previous").addEventListener("click", () => turnTo(state.page - 1));
  byId("next").addEventListener("click", () => turnTo(state.page + 1));
  byId("page").addEventListener("change", (event) => turnTo(Number(event.target.value) - 1));
  document.querySelector(".rankings").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { label, found: other = -1 } = button.dataset;
    clear();
    choose(Number(label), Number(other));
    filter();
    byId("queries").focus({ preventScroll: true });
    byId("queries").scrollIntoView();
  });

  clear();
})();
