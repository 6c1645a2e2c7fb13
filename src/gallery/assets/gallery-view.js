// What is shown: which rows, in which order, the cards of those that are in sight, and which of them are selected.
"use strict";
picsift.view = (() => {
  const { UNKNOWN } = picsift;
  const el = (id) => document.getElementById(id);
  // Most pictures that one word may be about.
  const MOST_PICKED = 10000;
  const state = { k: 0, answer: "all", find: "", sort: "doubt", min: 0, max: 1, errors: false, disagree: false, corrected: false };
  let order = new Uint32Array(0);
  // The place of the current picture, and the one from which Shift selects.
  let current = 0;
  let anchor = 0;
  // The rows that are selected.
  const picked = new Set();
  // How often the order was asked for.
  let asked = 0;
  let cards = new Map();
  let size = { columns: 1, width: 180, height: 200, gap: 10 };

  function answer(r, k = state.k) {
    const one = picsift.corrections.of(r, k);
    if (one) return one.is ? 1 : 0;
    return picsift.load.known(k).answers[r];
  }

  // The rows that pass the filters, in their order.
  async function compute() {
    const ticket = ++asked;
    const data = await picsift.load.category(state.k);
    const failed = state.errors ? await picsift.load.failed() : null;
    const called = state.find ? await picsift.load.called() : null;
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
      if (called && !called[r].includes(state.find)) continue;
      const given = answer(r);
      if (state.answer !== "all" && WORDS[given] !== state.answer) continue;
      const score = data.scores[r];
      if (bounded && !(score >= state.min && score <= state.max)) continue;
      if (state.disagree && !(data.truth && data.truth[r] !== UNKNOWN && given !== UNKNOWN && data.truth[r] !== given)) continue;
      if (state.corrected && !picsift.corrections.of(r, k) && !(data.source && data.source[r])) continue;
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
    const all = rows.toLocaleString("en");
    el("shown").textContent = count === rows ? `${all} pictures` : `${count.toLocaleString("en")} of ${all} pictures`;
    el("nothing").hidden = count > 0;
    return true;
  }

  async function refresh(stay) {
    const row = order[current];
    if (!await compute()) return;
    const place = stay ? order.indexOf(row) : 0;
    current = anchor = Math.max(0, place);
    for (const card of cards.values()) card.remove();
    cards = new Map();
    layout();
  }

  function layout() {
    const width = el("main").clientWidth;
    const least = width < 500 ? 110 : 170;
    size.columns = Math.max(1, Math.floor((width + size.gap) / (least + size.gap)));
    size.width = Math.floor((width - size.gap * (size.columns - 1)) / size.columns);
    // A narrow window has room for pictures alone.
    size.height = size.width + (width < 500 ? 28 : 50);
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

  const WORDS = ["no", "yes", "unknown"];

  function make(place) {
    const r = order[place];
    const card = document.createElement("div");
    card.className = "card";
    card.id = `card-${r}`;
    card.setAttribute("role", "option");
    card.tabIndex = -1;
    const thumb = document.createElement("div");
    thumb.className = "thumb";
    const box = document.createElement("input");
    box.type = "checkbox";
    box.className = "pick";
    box.tabIndex = -1;
    // The card itself says to those who listen whether it is selected.
    box.setAttribute("aria-hidden", "true");
    const marks = document.createElement("div");
    marks.className = "marks";
    const line = document.createElement("div");
    line.className = "line";
    const name = document.createElement("div");
    name.className = "name";
    card.append(thumb, box, marks, line, name);
    card.addEventListener("click", (event) => clicked(event, place, r));
    holds(card, place, r);
    told(card, r);
    picsift.load.row(r).then((row) => {
      const { called } = row;
      // The end of a path tells pictures apart.
      name.textContent = called.replace(/^.*\//, "") || called;
      name.title = called;
      card.setAttribute("aria-label", `${called}: ${WORDS[answer(r)]}`);
      if (row.width === null) {
        thumb.classList.add("is-error");
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

  // How long a finger rests on a picture to select it, and whether one just did.
  const HOLD = 500;
  let held = false;

  function holds(card, place, r) {
    let rests;
    const leave = () => clearTimeout(rests);
    card.addEventListener("touchstart", (event) => {
      held = false;
      if (event.touches.length > 1) { leave(); return; }
      rests = setTimeout(() => { held = true; select(place, true); pick(r); }, HOLD);
    }, { passive: true });
    for (const end of ["touchend", "touchmove", "touchcancel"]) card.addEventListener(end, leave, { passive: true });
    card.addEventListener("contextmenu", (event) => { if (held) event.preventDefault(); });
  }

  function clicked(event, place, r) {
    if (event.shiftKey) { event.preventDefault(); extend(place); return; }
    if (held) { held = false; return; }
    // While some are selected, every click is about the selection.
    if (picked.size || event.ctrlKey || event.metaKey || event.target.matches(".pick")) {
      select(place, true);
      anchor = place;
      pick(r);
      return;
    }
    select(place);
    picsift.large.open();
  }

  const described = (row) => [row.called, row.label && `labelled ${row.label}`].filter(Boolean).join(", ");

  // Answer and score of a card, and what of it differs from what the model alone would say.
  function told(card, r) {
    const data = picsift.load.known(state.k);
    const given = answer(r);
    const score = data.scores[r];
    card.querySelector(".line").replaceChildren(
      part(`answer is-${WORDS[given]}`, WORDS[given]),
      part("score", Number.isNaN(score) ? "" : score.toFixed(3)),
    );
    const marks = [];
    if (picsift.corrections.of(r, state.k) || (data.source && data.source[r])) marks.push(part("mark", "corrected"));
    if (data.truth && data.truth[r] !== UNKNOWN && data.truth[r] !== given) marks.push(part("mark differs", `truth: ${WORDS[data.truth[r]]}`));
    card.querySelector(".marks").replaceChildren(...marks);
  }

  function mark() {
    for (const [place, card] of cards) {
      const is = place === current;
      const chosen = picked.has(order[place]);
      card.classList.toggle("current", is);
      card.setAttribute("aria-selected", String(chosen));
      card.querySelector(".pick").checked = chosen;
      card.tabIndex = is ? 0 : -1;
    }
    el("picked").hidden = picked.size === 0;
    el("picked-count").textContent = `${picked.size.toLocaleString("en")} selected`;
    document.body.classList.toggle("picking", picked.size > 0);
  }

  function pick(r) {
    if (picked.has(r)) picked.delete(r);
    else if (room(1)) picked.add(r);
    mark();
  }

  // Selects all from the anchor to this place, which becomes the current one.
  function extend(place) {
    const to = Math.min(order.length - 1, Math.max(0, place));
    const [first, last] = [Math.min(anchor, to), Math.max(anchor, to)];
    if (order.length && room(last - first + 1)) {
      // Shift again from the same picture selects anew.
      picked.clear();
      for (let at = first; at <= last; at++) picked.add(order[at]);
    }
    const from = anchor;
    select(to, true);
    anchor = from;
  }

  function pickAll() {
    if (!room(order.length, true)) return;
    order.forEach((r) => picked.add(r));
    mark();
  }

  function pickNone() {
    picked.clear();
    mark();
  }

  function room(more, instead) {
    if ((instead ? 0 : picked.size) + more <= MOST_PICKED) return true;
    picsift.problem(new Error(`at most ${MOST_PICKED.toLocaleString("en")} pictures can be selected at once; filter first`));
    return false;
  }

  function select(place, focus) {
    if (!order.length) return;
    current = anchor = Math.min(order.length - 1, Math.max(0, place));
    const line = Math.floor(current / size.columns);
    const top = el("grid").getBoundingClientRect().top + line * (size.height + size.gap);
    const bar = el("top").getBoundingClientRect().bottom;
    const head = Math.max(0, bar) + 8;
    const foot = innerHeight - (el("picked").hidden ? 0 : el("picked").offsetHeight) - 8;
    if (top < head) scrollBy(0, top - head);
    else if (top + size.height > foot) scrollBy(0, top + size.height - foot);
    draw();
    if (focus && cards.has(current)) cards.get(current).focus({ preventScroll: true });
  }

  // Goes to this row, if it is shown.
  function go(r) {
    const place = order.indexOf(r);
    if (place >= 0) select(place, false);
    return place >= 0;
  }

  function update(r) {
    for (const [place, card] of cards) if (order[place] === r) told(card, r);
  }

  return {
    state, refresh, layout, draw, select, go, extend, pick, pickAll, pickNone, update, answer, described, WORDS,
    picked: () => [...picked],
    row: () => order[current],
    place: () => current,
    count: () => order.length,
    columns: () => size.columns,
  };
})();
