// The data: scripts of data/ loaded when they are needed, answers as typed arrays, corrections that are not saved yet.
"use strict";
const picsift = (() => {
  const MOST_CHUNKS = 120;
  const UNKNOWN = 2;
  const categories = new Map();
  const chunks = new Map();
  const waiting = new Map();
  let meta = null;
  let errors = null;

  function bytes(text) {
    const raw = atob(text);
    const all = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) all[i] = raw.charCodeAt(i);
    return all;
  }

  // A script at most once at a time; what it calls has run when the promise is kept.
  function load(file) {
    if (!waiting.has(file)) {
      waiting.set(file, new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = file;
        const end = (finish) => { script.remove(); waiting.delete(file); finish(); };
        script.onload = () => end(done);
        script.onerror = () => end(() => failed(new Error(`cannot read ${file} of the gallery`)));
        document.head.append(script);
      }));
    }
    return waiting.get(file);
  }

  async function category(k) {
    if (!categories.has(k)) await load(`data/category-${k}.js`);
    return categories.get(k);
  }

  async function row(r) {
    const c = Math.floor(r / meta.chunk);
    if (!chunks.has(c)) await load(`data/rows-${c}.js`);
    const rows = chunks.get(c);
    // The chunk that was used last goes last.
    chunks.delete(c);
    chunks.set(c, rows);
    while (chunks.size > MOST_CHUNKS) chunks.delete(chunks.keys().next().value);
    return rows[r - c * meta.chunk];
  }

  async function failed() {
    if (errors === null) await load("data/errors.js");
    return errors;
  }

  // Text of the data as people can read it: characters that turn a line around or are none are shown by their numbers.
  const plain = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);

  const digits = (n, width) => String(n).padStart(width, "0");
  const file = (kind, r) => `${kind}/${digits(Math.floor(r / 1000), 3)}/${digits(r, 6)}.jpg`;

  // Corrections by row and category. `sent`: this very word may be in a file; `saved`: it is; `kept`: the served gallery may have some
  // word about it. What is taken back of the latter stands here with `is` null until the server knows.
  const corrections = new Map();
  // What was done, each with what stood there before.
  let history = [];
  const name = (r, k) => `${r}:${k}`;
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a browser may keep nothing */ } };
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const now = () => new Date().toISOString().replace(/\.\d+Z/, "Z");

  function keep() {
    store(`picsift-${meta.id}`, JSON.stringify([...corrections.values()]));
  }

  // What was corrected before: by the server's file where there is one, then by what this browser has not saved.
  function recall() {
    const places = new Map(meta.categories.map((category, k) => [category.name, k]));
    for (const one of meta.serve ? meta.serve.corrections : []) {
      const k = places.get(one.category);
      if (k === undefined || one.row === null || one.row >= meta.rows) continue;
      corrections.set(name(one.row, k), { row: one.row, category: k, was: one.was, is: one.is, when: one.when, saved: true, kept: true });
    }
    try {
      const all = JSON.parse(stored(`picsift-${meta.id}`) || "[]");
      for (const one of all.sort((a, b) => (a.when < b.when ? -1 : a.when > b.when ? 1 : 0))) {
        const fits = one.row < meta.rows && one.category < meta.categories.length;
        if (!fits || (meta.serve && one.saved)) continue;
        const key = name(one.row, one.category);
        const before = corrections.get(key);
        if (one.is === null && !before) continue;
        corrections.set(key, { ...one, kept: Boolean(before && before.kept) });
        if (!one.saved) history.push([key, before]);
      }
    } catch { /* what cannot be read is not ours */ }
  }

  function correct(r, k, was, is) {
    const key = name(r, k);
    const before = corrections.get(key);
    history.push([key, before]);
    corrections.set(key, { row: r, category: k, was, is, when: now(), saved: false, kept: Boolean(before && before.kept) });
    keep();
  }

  // The row of what was undone.
  function undo() {
    if (!history.length) return null;
    const [key, before] = history.pop();
    const one = corrections.get(key);
    if (before) corrections.set(key, { ...before, saved: before.saved && !one.sent, kept: one.kept });
    else if (one.kept) corrections.set(key, { ...one, is: null, when: now(), saved: false });
    else corrections.delete(key);
    keep();
    return one.row;
  }

  function correction(r, k) {
    const one = corrections.get(name(r, k));
    return one && one.is !== null ? one : undefined;
  }

  const standing = () => [...corrections.values()].filter((one) => one.is !== null);
  const unsaved = () => [...corrections.values()].filter((one) => !one.saved);

  async function lines(all) {
    const who = stored("picsift-who") || "";
    const text = [];
    for (const one of all) {
      const of = await row(one.row);
      text.push(JSON.stringify({
        key: of.key, row: one.row, category: meta.categories[one.category].name, was: one.was, is: one.is, who, when: one.when,
      }) + "\n");
    }
    return text.join("");
  }

  // A download has all that stands; a server is told what is new.
  const toSave = () => (meta.serve ? unsaved() : standing());

  // Saves go one after the other: a later word about a picture must not reach the file before an earlier one.
  let saving = Promise.resolve();
  function save() {
    const next = saving.then(saveNow);
    saving = next.catch(() => {});
    return next;
  }

  async function saveNow() {
    const all = toSave();
    if (!all.length) return;
    const text = await lines(all);
    // What is undone from here on must be taken back there too.
    for (const one of all) Object.assign(one, { sent: true, kept: Boolean(meta.serve) });
    keep();
    if (meta.serve) {
      const answer = await fetch("corrections", {
        method: "POST", body: text,
        headers: { "X-Picsift-Token": meta.serve.token, "Content-Type": "application/x-ndjson" },
      });
      if (!answer.ok) {
        const said = await answer.json().catch(() => ({}));
        throw new Error(`not saved: ${said.error || answer.statusText}`);
      }
    } else {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }));
      link.download = "corrections.jsonl";
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
    for (const one of all) {
      const key = name(one.row, one.category);
      one.saved = true;
      // Somebody may have gone on while it was sent: their word stands, and is saved next.
      if (corrections.get(key) === one && one.is === null) corrections.delete(key);
    }
    keep();
  }

  // Who saved last, to be offered as who saves now.
  const lastSaver = () => (meta.serve && meta.serve.corrections.length ? meta.serve.corrections.at(-1).who : "");

  return {
    UNKNOWN,
    meta(value) {
      if (value !== undefined) {
        meta = value;
        meta.title = plain(meta.title);
        for (const category of meta.categories) {
          // Corrections have the name as it is.
          category.called = plain(category.name);
          category.prompt = category.prompt && plain(category.prompt);
        }
        recall();
      }
      return meta;
    },
    category(k, value) {
      const scores = bytes(value.scores);
      categories.set(k, {
        scores: new Float32Array(scores.buffer),
        answers: bytes(value.answers),
        truth: value.truth && bytes(value.truth),
        source: value.source && bytes(value.source),
      });
    },
    rows(c, value) {
      for (const row of value) {
        row.called = plain(row.reference || row.key);
        row.label = row.label && plain(row.label);
        for (const part of row.error ? ["stage", "kind", "message"] : []) row.error[part] = plain(row.error[part]);
      }
      chunks.set(c, value);
    },
    errors(value) { errors = new Set(value); },
    load: { start: () => load("data/meta.js"), category, row, failed, known: (k) => categories.get(k) },
    file, plain, correct, undo, correction, standing, unsaved, toSave, save, store, stored, lastSaver,
    canUndo: () => history.length > 0,
  };
})();
