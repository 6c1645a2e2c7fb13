// What is shown: which rows, in which order, and the cards of those that are in sight.
"use strict";
picsift.view = (() => {
  const { UNKNOWN } = picsift;
  const el = (id) => document.getElementById(id);
  const state = { k: 0, answer: "all", sort: "doubt", min: 0, max: 1, errors: false, disagree: false, corrected: false };
  let order = new Uint32Array(0);
  let selected = 0;
  // How often the order was asked for.
  let asked = 0;
  let cards = new Map();
  let size = { columns: 1, width: 180, height: 200, gap: 10 };

  function answer(r, k = state.k) {
    const one = picsift.correction(r, k);
    if (one) return one.is ? 1 : 0;
    return picsift.load.known(k).answers[r];
  }

  // The rows that pass the filters, in their order.
  async function compute() {
    const ticket = ++asked;
    const data = await picsift.load.category(state.k);
    const failed = state.errors ? await picsift.load.failed() : null;
    // Other filters were set while this one's data came.
    if (ticket !== asked) return false;
    const { k } = state;
    const rows = picsift.meta().rows;
    const threshold = picsift.meta().categories[k].threshold;
    const bounded = state.min > 0 || state.max < 1;
    const found = new Uint32Array(rows);
    let count = 0;
    for (let r = 0; r < rows; r++) {
      if (failed && !failed.has(r)) continue;
      const given = answer(r);
      if (state.answer !== "all" && given !== Number(state.answer)) continue;
      const score = data.scores[r];
      if (bounded && !(score >= state.min && score <= state.max)) continue;
      if (state.disagree && !(data.truth && data.truth[r] !== UNKNOWN && given !== UNKNOWN && data.truth[r] !== given)) continue;
      if (state.corrected && !picsift.correction(r, k) && !(data.source && data.source[r])) continue;
      found[count++] = r;
    }
    order = found.subarray(0, count);
    if (state.sort !== "row") {
      const weigh = {
        doubt: (score) => Math.abs(score - threshold),
        high: (score) => -score,
        low: (score) => score,
      }[state.sort];
      // Rows without a score come last.
      const weights = new Float32Array(rows);
      for (let i = 0; i < count; i++) {
        const score = data.scores[order[i]];
        weights[order[i]] = Number.isNaN(score) ? 9 : weigh(score);
      }
      order.sort((a, b) => weights[a] - weights[b] || a - b);
    }
    el("shown").textContent = `${count.toLocaleString("en")} of ${rows.toLocaleString("en")} shown`;
    el("nothing").hidden = count > 0;
    return true;
  }

  async function refresh(stay) {
    const row = order[selected];
    if (!await compute()) return;
    const place = stay ? order.indexOf(row) : 0;
    selected = Math.max(0, place);
    for (const card of cards.values()) card.remove();
    cards = new Map();
    layout();
  }

  function layout() {
    const width = el("main").clientWidth;
    const least = width < 500 ? 110 : 170;
    size.columns = Math.max(1, Math.floor((width + size.gap) / (least + size.gap)));
    size.width = Math.floor((width - size.gap * (size.columns - 1)) / size.columns);
    size.height = size.width + 50;
    const lines = Math.ceil(order.length / size.columns);
    el("grid").style.height = `${lines * (size.height + size.gap)}px`;
    for (const [place, card] of cards) put(card, place);
    draw();
  }

  function put(card, place) {
    const column = place % size.columns;
    const line = Math.floor(place / size.columns);
    card.style.left = `${column * (size.width + size.gap)}px`;
    card.style.top = `${line * (size.height + size.gap)}px`;
    card.style.width = `${size.width}px`;
    card.style.height = `${size.height}px`;
  }

  // Makes the cards in sight and half a screen around, and drops the others.
  function draw() {
    const step = size.height + size.gap;
    const top = el("grid").getBoundingClientRect().top;
    const margin = innerHeight / 2;
    const first = Math.max(0, Math.floor((-top - margin) / step)) * size.columns;
    const last = Math.min(order.length, Math.ceil((innerHeight - top + margin) / step) * size.columns);
    for (const [place, card] of cards) {
      if (place < first || place >= last) { card.remove(); cards.delete(place); }
    }
    for (let place = first; place < last; place++) {
      if (!cards.has(place)) {
        const card = make(place);
        cards.set(place, card);
        put(card, place);
        el("grid").append(card);
      }
    }
    mark();
  }

  const part = (kind, text) => {
    const made = document.createElement("span");
    made.className = kind;
    made.textContent = text;
    return made;
  };

  const WORDS = [["no", "is-no"], ["yes", "is-yes"], ["unknown", "is-unknown"]];

  function make(place) {
    const r = order[place];
    const card = document.createElement("div");
    card.className = "card";
    card.id = `card-${r}`;
    card.setAttribute("role", "option");
    card.tabIndex = -1;
    const thumb = document.createElement("div");
    thumb.className = "thumb";
    const line = document.createElement("div");
    line.className = "line";
    const name = document.createElement("div");
    name.className = "name";
    card.append(thumb, line, name);
    card.addEventListener("click", () => { select(place); picsift.large.open(); });
    told(card, r);
    picsift.load.row(r).then((row) => {
      const { called } = row;
      name.textContent = called;
      name.title = called;
      card.setAttribute("aria-label", `${called}: ${WORDS[answer(r)][0]}`);
      if (row.width === null) {
        thumb.textContent = row.error ? row.error.message : "no picture";
        return;
      }
      const image = document.createElement("img");
      image.alt = described(row);
      image.decoding = "async";
      image.src = picsift.file("thumbs", r);
      thumb.append(image);
    }, picsift.problem);
    return card;
  }

  const described = (row) => [row.called, row.label && `labelled ${row.label}`].filter(Boolean).join(", ");

  // Answer and score of a card.
  function told(card, r) {
    const data = picsift.load.known(state.k);
    const [word, kind] = WORDS[answer(r)];
    const score = data.scores[r];
    const line = card.querySelector(".line");
    const parts = [part(kind, word), part("score", Number.isNaN(score) ? "no score" : score.toFixed(3))];
    if (picsift.correction(r, state.k) || (data.source && data.source[r])) parts.splice(1, 0, part("mark", "person"));
    if (data.truth && data.truth[r] !== UNKNOWN && data.truth[r] !== answer(r)) parts.splice(1, 0, part("mark is-no", `truth: ${WORDS[data.truth[r]][0]}`));
    line.replaceChildren(...parts);
  }

  function mark() {
    for (const [place, card] of cards) {
      const is = place === selected;
      card.setAttribute("aria-selected", String(is));
      card.tabIndex = is ? 0 : -1;
    }
  }

  function select(place, focus) {
    if (!order.length) return;
    selected = Math.min(order.length - 1, Math.max(0, place));
    const line = Math.floor(selected / size.columns);
    const top = el("grid").getBoundingClientRect().top + line * (size.height + size.gap);
    const bar = el("filters").getBoundingClientRect().bottom;
    const head = Math.max(0, getComputedStyle(el("filters")).position === "sticky" ? bar : 0) + 8;
    if (top < head) scrollBy(0, top - head);
    else if (top + size.height > innerHeight) scrollBy(0, top + size.height + 8 - innerHeight);
    draw();
    if (focus && cards.has(selected)) cards.get(selected).focus({ preventScroll: true });
  }

  function update(r) {
    for (const [place, card] of cards) if (order[place] === r) told(card, r);
  }

  return {
    state, refresh, layout, draw, select, update, answer, described, WORDS,
    row: () => order[selected],
    place: () => selected,
    count: () => order.length,
    columns: () => size.columns,
  };
})();
