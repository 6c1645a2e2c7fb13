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

  const digits = (n, width) => String(n).padStart(width, "0");
  const file = (kind, r) => `${kind}/${digits(Math.floor(r / 1000), 3)}/${digits(r, 6)}.jpg`;

  // Corrections: by row and category, with the order in which they were made.
  const corrections = new Map();
  let history = [];
  const name = (r, k) => `${r}:${k}`;
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a browser may keep nothing */ } };
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

  function keep() {
    store(`picsift-${meta.id}`, JSON.stringify([...corrections.values()]));
  }

  function recall() {
    try {
      for (const one of JSON.parse(stored(`picsift-${meta.id}`) || "[]")) {
        const fits = one.row < meta.rows && one.category < meta.categories.length;
        if (fits) { corrections.set(name(one.row, one.category), one); history.push(name(one.row, one.category)); }
      }
    } catch { /* what cannot be read is not ours */ }
  }

  function correct(r, k, was, is) {
    const key = name(r, k);
    history = history.filter((other) => other !== key);
    history.push(key);
    corrections.set(key, { row: r, category: k, was, is, when: new Date().toISOString().replace(/\.\d+Z/, "Z"), saved: false });
    keep();
  }

  function undo() {
    const key = history.pop();
    if (key === undefined) return null;
    const one = corrections.get(key);
    corrections.delete(key);
    keep();
    return one;
  }

  const correction = (r, k) => corrections.get(name(r, k));
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

  async function save() {
    const all = [...corrections.values()];
    const text = await lines(all);
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
    for (const one of all) one.saved = true;
    keep();
    return all.length;
  }

  return {
    UNKNOWN,
    meta(value) { if (value !== undefined) { meta = value; recall(); } return meta; },
    category(k, value) {
      const scores = bytes(value.scores);
      categories.set(k, {
        scores: new Float32Array(scores.buffer),
        answers: bytes(value.answers),
        truth: value.truth && bytes(value.truth),
        source: value.source && bytes(value.source),
      });
    },
    rows(c, value) { chunks.set(c, value); },
    errors(value) { errors = new Set(value); },
    load: { start: () => load("data/meta.js"), category, row, failed, known: (k) => categories.get(k) },
    file, correct, undo, correction, corrections, unsaved, save, store, stored,
  };
})();
