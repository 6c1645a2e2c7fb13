// What people do: filters, keys, corrections, saving.
"use strict";
(() => {
  const el = (id) => document.getElementById(id);
  const { view, side, large } = picsift;

  let told;
  picsift.problem = (error) => {
    el("problem").textContent = error.message || String(error);
    el("problem").hidden = false;
    clearTimeout(told);
    told = setTimeout(() => { el("problem").hidden = true; }, 8000);
  };

  function tellUnsaved() {
    const unsaved = picsift.unsaved().length;
    const all = picsift.standing().length;
    el("unsaved").textContent = unsaved ? `${unsaved} unsaved` : all ? `${all} saved` : "";
    el("save").disabled = picsift.toSave().length === 0;
    el("save").classList.toggle("primary", unsaved > 0);
    el("undo").disabled = !picsift.canUndo();
  }

  picsift.correctRow = (r, k, is) => {
    const data = picsift.load.known(k);
    const was = data.answers[r] === picsift.UNKNOWN ? null : data.answers[r] === 1;
    picsift.correct(r, k, was, is);
    view.update(r);
    tellUnsaved();
  };

  // Yes or no for the picture that is selected, and on to the next.
  function decide(is) {
    const r = view.row();
    if (r === undefined) return;
    picsift.correctRow(r, view.state.k, is);
    move(1);
  }

  function undo() {
    const row = picsift.undo();
    if (row === null) return;
    view.update(row);
    large.show();
    tellUnsaved();
  }

  async function save() {
    if (!picsift.toSave().length) return;
    if (!picsift.stored("picsift-who")) {
      el("keys").showModal();
      el("who").value = picsift.lastSaver();
      el("who").placeholder = "say who you are, then save";
      el("who").select();
      return;
    }
    await picsift.save();
    tellUnsaved();
  }

  // The name is kept as it is typed: a dialog's close event comes later than the next key may.
  function named() {
    picsift.store("picsift-who", el("who").value.trim());
  }

  function move(by) {
    view.select(view.place() + by, !large.isOpen());
    large.show();
  }

  const KEYS = {
    ArrowRight: () => move(1), j: () => move(1), ArrowLeft: () => move(-1), k: () => move(-1),
    ArrowDown: () => move(large.isOpen() ? 1 : view.columns()), ArrowUp: () => move(large.isOpen() ? -1 : -view.columns()),
    y: () => decide(true), n: () => decide(false), u: undo, s: () => save().catch(picsift.problem),
    "?": () => el("keys").showModal(),
    Home: () => move(-view.count()), End: () => move(view.count()),
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || el("keys").open) return;
    const target = event.target;
    if (target.matches("input, select, textarea")) return;
    if (event.key === "Enter") {
      if (target.matches("button")) return;
      event.preventDefault();
      large.open();
      return;
    }
    const act = KEYS[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  function number(id, fallback) {
    const value = Number.parseFloat(el(id).value);
    // Scores are floats of 32 bits: 0.9 among them is a little less than 0.9.
    return Number.isFinite(value) ? Math.fround(Math.min(1, Math.max(0, value))) : fallback;
  }

  async function filter() {
    const { state } = view;
    const k = Number(el("category").value);
    // Cards are drawn and corrected by the state, which must not be of a category that is still to come.
    await picsift.load.category(k);
    if (k !== Number(el("category").value)) return;
    const changed = k !== state.k;
    Object.assign(state, {
      k, answer: el("answer").value, sort: el("sort").value, min: number("min", 0), max: number("max", 1),
      errors: el("errors").checked, disagree: el("disagree").checked && picsift.meta().categories[k].truth, corrected: el("corrected").checked,
    });
    if (changed) side.show(k);
    await view.refresh(false);
  }

  function listen() {
    el("filters").addEventListener("input", () => filter().catch(picsift.problem));
    el("filters").addEventListener("submit", (event) => event.preventDefault());
    const clicks = {
      undo, save: () => save().catch(picsift.problem), help: () => el("keys").showModal(), "keys-close": () => { named(); el("keys").close(); },
      previous: () => move(-1), next: () => move(1), close: large.close, yes: () => decide(true), no: () => decide(false),
    };
    for (const [id, act] of Object.entries(clicks)) el(id).addEventListener("click", act);
    el("who").value = picsift.stored("picsift-who") || "";
    el("who").addEventListener("input", named);
    el("who").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      // A name that was offered and is taken as it stands was never typed.
      named();
      el("keys").close();
      save().catch(picsift.problem);
    });
    let asked = false;
    addEventListener("scroll", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => { asked = false; view.draw(); });
    }, { passive: true });
    addEventListener("resize", view.layout);
    addEventListener("beforeunload", (event) => { if (picsift.unsaved().length) event.preventDefault(); });
  }

  async function start() {
    await picsift.load.start();
    const meta = picsift.meta();
    document.title = `${meta.title} \u2013 picsift`;
    el("title").textContent = meta.title;
    const errors = meta.errors ? `, ${meta.errors.toLocaleString("en")} without a picture` : "";
    const model = meta.model ? `; ${[meta.model, meta.revision].filter(Boolean).join(" ")}` : "";
    el("about").textContent = `${meta.rows.toLocaleString("en")} rows${errors}${model}`;
    meta.categories.forEach((category, k) => el("category").append(new Option(category.called, String(k))));
    listen();
    // On a phone the pictures come first.
    el("more").open = innerWidth > 760;
    side.show(0);
    tellUnsaved();
    await view.refresh(false);
    document.body.dataset.ready = "true";
  }

  start().catch(picsift.problem);
})();
