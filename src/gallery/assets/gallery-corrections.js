// What people corrected: what stands, how it is undone, and how it comes into a file.
"use strict";
picsift.corrections = (() => {
  // By row and category. `sent`: this very word may be in a file; `saved`: it is; `kept`: the served gallery may have some word about
  // it. What is taken back of the latter stands here with `is` null until the server knows.
  const all = new Map();
  // What was done: each step the places that it changed, with what stood there before.
  const history = [];
  const name = (r, k) => `${r}:${k}`;
  const now = () => new Date().toISOString().replace(/\.\d+Z/, "Z");
  const served = () => picsift.meta().serve;

  function keep() {
    const kept = served() ? unsaved() : [...all.values()];
    picsift.store(`picsift-${picsift.meta().id}`, JSON.stringify(kept));
  }

  // What was corrected before: by the server's file where there is one, then by what this browser has not saved.
  function recall() {
    const meta = picsift.meta();
    const places = new Map(meta.categories.map((category, k) => [category.name, k]));
    for (const one of served() ? served().corrections : []) {
      const k = places.get(one.category);
      if (k === undefined || one.row === null || one.row >= meta.rows) continue;
      all.set(name(one.row, k), { row: one.row, category: k, was: one.was, is: one.is, when: one.when, saved: true, sent: true, kept: true });
    }
    try {
      const stored = JSON.parse(picsift.stored(`picsift-${meta.id}`) || "[]");
      for (const one of stored.sort((a, b) => (a.when < b.when ? -1 : a.when > b.when ? 1 : 0))) {
        const fits = one.row < meta.rows && one.category < meta.categories.length;
        if (!fits || (served() && one.saved)) continue;
        const key = name(one.row, one.category);
        const before = all.get(key);
        if (one.is === null && !before) continue;
        all.set(key, { ...one, kept: Boolean(before && before.kept) });
        if (!one.saved) history.push([[key, before]]);
      }
    } catch { /* what cannot be read is not ours */ }
  }

  function set(key, r, k, was, is) {
    const before = all.get(key);
    const kept = Boolean(before && before.kept);
    if (is === null && !kept) all.delete(key);
    else all.set(key, { row: r, category: k, was, is, when: now(), saved: false, sent: false, kept });
  }

  // One step of undo: for each of `changes` a row, a category, what the table says, and what is true (null takes back what was said).
  function change(changes) {
    const step = [];
    for (const { row, category, was, is } of changes) {
      const key = name(row, category);
      step.push([key, all.get(key)]);
      set(key, row, category, was, is);
    }
    history.push(step);
    keep();
  }

  // The rows of what was undone.
  function undo() {
    const step = history.pop();
    if (!step) return [];
    const rows = [];
    for (const [key, before] of step.reverse()) {
      const one = all.get(key);
      const [r, k] = key.split(":").map(Number);
      rows.push(r);
      // A word that was sent is in the file in place of the one before, which has to be sent again.
      if (before) all.set(key, { ...before, saved: Boolean(one) && before.saved && !one.sent, kept: Boolean(one) && one.kept });
      else if (one) set(key, r, k, one.was, null);
    }
    keep();
    return rows;
  }

  function of(r, k) {
    const one = all.get(name(r, k));
    return one && one.is !== null ? one : undefined;
  }

  const standing = () => [...all.values()].filter((one) => one.is !== null);
  const unsaved = () => [...all.values()].filter((one) => !one.saved);
  // A download has all that stands; a server is told what is new.
  const toSave = () => (served() ? unsaved() : standing());

  async function lines(words) {
    const who = picsift.stored("picsift-who") || "";
    const text = new Map();
    // By row, for rows come in chunks; then in the order in which they were said.
    for (const one of [...words].sort((a, b) => a.row - b.row)) {
      const { key } = await picsift.load.row(one.row);
      const category = picsift.meta().categories[one.category].name;
      text.set(one, JSON.stringify({ key, row: one.row, category, was: one.was, is: one.is, who, when: one.when }) + "\n");
    }
    return words.map((one) => text.get(one)).join("");
  }

  // Saves go one after the other: a later word about a picture must not reach the file before an earlier one.
  let saving = Promise.resolve();
  function save() {
    const next = saving.then(saveNow);
    saving = next.catch(() => {});
    return next;
  }

  async function saveNow() {
    const words = toSave();
    if (!words.length) return;
    const text = await lines(words);
    // What is undone from here on must be taken back there too.
    for (const one of words) Object.assign(one, { sent: true, kept: Boolean(served()) });
    keep();
    if (served()) await post(text);
    else download(text);
    for (const one of words) {
      const key = name(one.row, one.category);
      one.saved = true;
      // Somebody may have gone on while it was sent: their word stands, and is saved next.
      if (all.get(key) === one && one.is === null) all.delete(key);
    }
    keep();
  }

  async function post(body) {
    const headers = { "X-Picsift-Token": served().token, "Content-Type": "application/x-ndjson" };
    const answer = await fetch("corrections", { method: "POST", body, headers }).catch(() => {
      throw new Error("not saved: picsift does not answer; start it again, and save then. This browser remembers what you corrected");
    });
    if (answer.ok) return;
    const said = await answer.json().catch(() => ({}));
    throw new Error(`not saved: ${said.error || answer.statusText}`);
  }

  function download(text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }));
    link.download = "corrections.jsonl";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // Who saved last, to be offered as who saves now.
  const lastSaver = () => (served() && served().corrections.length ? served().corrections.at(-1).who : "");

  return { recall, change, undo, of, standing, unsaved, toSave, save, lastSaver, canUndo: () => history.length > 0 };
})();
