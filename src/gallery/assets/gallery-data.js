// The data: scripts of data/ loaded when they are needed, answers as typed arrays.
"use strict";
const picsift = (() => {
  const MOST_CHUNKS = 120;
  const UNKNOWN = 2;
  const categories = new Map();
  const chunks = new Map();
  // The table's other columns, by chunk, and the file names of all rows, once somebody looks for one.
  const beside = new Map();
  let names = [];
  let naming = null;
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

  async function chunked(kept, kind, r) {
    const c = Math.floor(r / meta.chunk);
    if (!kept.has(c)) await load(`data/${kind}-${c}.js`);
    const rows = kept.get(c);
    // The chunk that was used last goes last.
    kept.delete(c);
    kept.set(c, rows);
    while (kept.size > MOST_CHUNKS) kept.delete(kept.keys().next().value);
    return rows[r - c * meta.chunk];
  }

  const row = (r) => chunked(chunks, "rows", r);

  // Names and values of the table's other columns.
  async function columns(r) {
    if (!meta.columns.length) return [];
    const values = await chunked(beside, "columns", r);
    return meta.columns.map((column, i) => [column, values[i]]);
  }

  // What all rows are called, in small letters; asked for once.
  function called() {
    if (naming === null) {
      names = new Array(meta.rows);
      const scripts = [];
      for (let first = 0; first < meta.rows; first += meta.names) scripts.push(load(`data/names-${first / meta.names}.js`));
      naming = Promise.all(scripts).then(() => names, (error) => { naming = null; throw error; });
    }
    return naming;
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

  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a browser may keep nothing */ } };
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

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
        meta.columns = meta.columns.map(plain);
        picsift.corrections.recall();
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
    columns(c, value) { beside.set(c, value.map((row) => row.map((text) => text && plain(text)))); },
    names(c, value) {
      value.forEach((name, i) => { names[c * meta.names + i] = plain(name).toLowerCase(); });
    },
    errors(value) { errors = new Set(value); },
    load: { start: () => load("data/meta.js"), category, row, columns, called, failed, known: (k) => categories.get(k) },
    file, plain, store, stored,
  };
})();
