// One picture large, with all that is known of it.
"use strict";
picsift.large = (() => {
  const el = (id) => document.getElementById(id);
  const dialog = el("large");
  // Which showing is the last: what others still wait for comes too late.
  let showing = 0;
  // Each of them brings a line of the table of answers up to date.
  let lines = [];

  function fact(name, value) {
    if (value === null || value === undefined || value === "" || value === false) return [];
    const head = document.createElement("dt");
    head.textContent = name;
    const body = document.createElement("dd");
    body.textContent = value;
    return [head, body];
  }

  async function show() {
    const r = picsift.view.row();
    if (r === undefined) { close(); return; }
    const mine = ++showing;
    const row = await picsift.load.row(r);
    if (showing !== mine) return;
    const meta = picsift.meta();
    const image = el("large-image");
    const failed = row.width === null;
    image.hidden = failed;
    el("large-error").hidden = !failed;
    el("large-error").textContent = row.error ? row.error.message : "";
    if (failed) image.removeAttribute("src");
    else image.src = picsift.file(meta.pictures ? "pictures" : "thumbs", r);
    image.alt = picsift.view.described(row);
    const { state, place, count } = picsift.view;
    el("large-title").textContent = row.called;
    el("place").textContent = `${(place() + 1).toLocaleString("en")} of ${count().toLocaleString("en")}`;
    el("previous").disabled = place() === 0;
    el("next").disabled = place() + 1 === count();
    const category = meta.categories[state.k];
    el("question").textContent = category.prompt || `Does it show \u201c${category.called}\u201d?`;
    verdict();
    facts(row, []);
    await Promise.all([answers(r, mine), others(r, row, mine)]);
  }

  // What the table says besides, as soon as it is there.
  async function others(r, row, mine) {
    const columns = await picsift.load.columns(r);
    if (showing === mine) facts(row, columns);
  }

  function facts(row, columns) {
    const key = picsift.plain(row.key);
    el("facts").replaceChildren(
      ...fact("Error", row.error && `${row.error.stage}, ${row.error.kind}: ${row.error.message}`),
      ...fact("Label", row.label),
      ...columns.flatMap(([name, value]) => fact(name, value)),
      ...fact("Pixels", row.width !== null && `${row.width} \u00d7 ${row.height}`),
      ...fact("Key", key !== row.called && key),
    );
  }

  function verdict() {
    const { WORDS, answer, row, state } = picsift.view;
    const r = row();
    const given = answer(r);
    const one = picsift.corrections.of(r, state.k);
    el("yes").setAttribute("aria-pressed", String(given === 1));
    el("no").setAttribute("aria-pressed", String(given === 0));
    const before = one && (one.was === null ? "no answer" : one.was ? "yes" : "no");
    el("verdict").textContent = one ? `corrected; the table says ${before}` : given === picsift.UNKNOWN ? WORDS[given] : "";
    el("take-back").hidden = !one;
  }

  // Scores of all categories, each as soon as it is there.
  async function answers(r, mine) {
    const body = el("answers").tBodies[0];
    body.replaceChildren();
    lines = [];
    const categories = picsift.meta().categories;
    el("answers").classList.toggle("without-truth", !categories.some((category) => category.truth));
    for (let k = 0; k < categories.length; k++) {
      const data = await picsift.load.category(k);
      if (showing !== mine || !dialog.open) return;
      body.append(line(r, k, categories[k], data));
    }
  }

  function line(r, k, category, data) {
    const { WORDS, answer } = picsift.view;
    const made = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = category.called;
    const score = document.createElement("td");
    const value = data.scores[r];
    if (Number.isNaN(value)) score.textContent = "\u2013";
    else {
      const bar = document.createElement("div");
      bar.className = "scorebar";
      bar.setAttribute("role", "img");
      bar.setAttribute("aria-label", `score ${value.toFixed(3)}, threshold ${picsift.side.short(category.threshold)}`);
      bar.title = bar.getAttribute("aria-label");
      const fill = document.createElement("i");
      fill.style.width = `${100 * value}%`;
      const mark = document.createElement("b");
      mark.style.left = `${100 * category.threshold}%`;
      bar.append(fill, mark);
      const number = document.createElement("span");
      number.className = "score-value";
      number.textContent = value.toFixed(3);
      score.append(bar, number);
    }
    const told = document.createElement("td");
    const flip = document.createElement("button");
    const truth = document.createElement("td");
    truth.className = "of-truth";
    const known = data.truth ? data.truth[r] : picsift.UNKNOWN;
    const tell = () => {
      const given = answer(r, k);
      flip.textContent = WORDS[given];
      flip.className = `answer is-${WORDS[given]}`;
      flip.setAttribute("aria-label", `${category.called}: ${WORDS[given]}; flip`);
      truth.textContent = known === picsift.UNKNOWN ? "" : WORDS[known];
      truth.classList.toggle("differs", known !== picsift.UNKNOWN && known !== given);
    };
    flip.type = "button";
    flip.addEventListener("click", () => { picsift.correct([r], k, answer(r, k) !== 1); });
    tell();
    told.append(flip);
    made.append(name, score, told, truth);
    lines.push(tell);
    return made;
  }

  // What is known of the picture has changed.
  function update() {
    if (!dialog.open || picsift.view.row() === undefined) return;
    verdict();
    for (const tell of lines) tell();
  }

  function open() {
    if (picsift.view.row() === undefined) return;
    if (!dialog.open) dialog.showModal();
    show().catch(picsift.problem);
    picsift.address.write();
  }

  function close() {
    if (!dialog.open) return;
    dialog.close();
    picsift.view.select(picsift.view.place(), true);
    picsift.address.write();
  }

  // Escape closes as the button does: a dialog's close event comes later, when somebody may be elsewhere, or the dialog open again.
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  dialog.addEventListener("close", () => picsift.address.write());

  // A finger that wipes the picture aside asks for the next one.
  const FAR = 60;
  let touched = null;
  el("large-image").parentElement.addEventListener("touchstart", (event) => {
    touched = event.touches.length === 1 ? event.touches[0].clientX : null;
  }, { passive: true });
  el("large-image").parentElement.addEventListener("touchend", (event) => {
    const moved = touched === null ? 0 : event.changedTouches[0].clientX - touched;
    touched = null;
    if (Math.abs(moved) >= FAR) picsift.move(moved < 0 ? 1 : -1);
  }, { passive: true });

  return { open, close, update, show: () => { if (dialog.open) show().catch(picsift.problem); }, isOpen: () => dialog.open };
})();
