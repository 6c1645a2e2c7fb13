// One picture large, with all that is known of it.
"use strict";
picsift.large = (() => {
  const el = (id) => document.getElementById(id);
  const dialog = el("large");
  // Which showing is the last: what others still wait for comes too late.
  let showing = 0;

  function fact(name, value) {
    if (value === null || value === undefined || value === "") return [];
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
    el("large-title").textContent = row.called;
    const category = meta.categories[picsift.view.state.k];
    el("facts").replaceChildren(
      ...fact("Place", `${picsift.view.place() + 1} of ${picsift.view.count()} shown, row ${r}`),
      ...fact("Label", row.label),
      ...fact("Question", category.prompt || category.called),
      ...fact("Pixels", failed ? null : `${row.width} \u00d7 ${row.height}`),
      ...fact("Key", picsift.plain(row.key)),
      ...fact("Error", row.error && `${row.error.stage}, ${row.error.kind}: ${row.error.message}`),
      ...fact("Model", meta.model && [meta.model, meta.revision].filter(Boolean).join(" ")),
    );
    el("yes").textContent = `Yes, ${category.called}`;
    el("no").textContent = `No`;
    verdict();
    await answers(r, mine);
  }

  function verdict() {
    const { WORDS, answer, row, state } = picsift.view;
    const [word, kind] = WORDS[answer(row())];
    const by = picsift.correction(row(), state.k) ? "corrected" : "answered";
    el("verdict").textContent = `${by}: ${word}`;
    el("verdict").className = kind;
  }

  // Scores of all categories, each as soon as it is there.
  async function answers(r, mine) {
    const body = el("answers").tBodies[0];
    body.replaceChildren();
    const categories = picsift.meta().categories;
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
    const tell = () => {
      const [word, kind] = WORDS[answer(r, k)];
      flip.textContent = word;
      flip.className = kind;
      flip.setAttribute("aria-label", `${category.called}: ${word}; flip`);
    };
    flip.type = "button";
    flip.addEventListener("click", () => { picsift.correctRow(r, k, answer(r, k) !== 1); tell(); verdict(); });
    tell();
    told.append(flip);
    made.append(name, score, told);
    return made;
  }

  function open() {
    if (picsift.view.row() === undefined) return;
    if (!dialog.open) dialog.showModal();
    show().catch(picsift.problem);
  }

  function close() {
    if (dialog.open) dialog.close();
  }

  // The event comes after the dialog has closed, when it may be open again.
  dialog.addEventListener("close", () => { if (!dialog.open) picsift.view.select(picsift.view.place(), true); });
  return { open, close, show: () => { if (dialog.open) show().catch(picsift.problem); }, isOpen: () => dialog.open };
})();
