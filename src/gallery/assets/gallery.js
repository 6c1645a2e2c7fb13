// What people do: filters, keys, corrections, saving.
"use strict";
(() => {
  const el = (id) => document.getElementById(id);
  const { view, side, large, corrections, address } = picsift;
  const served = () => Boolean(picsift.meta().serve);

  let told;
  picsift.problem = (error) => {
    el("problem").textContent = error.message || String(error);
    el("problem").hidden = false;
    clearTimeout(told);
    told = setTimeout(() => { el("problem").hidden = true; }, 8000);
  };

  // Whether the last save failed.
  let failed = false;

  function tellSaved() {
    const unsaved = corrections.unsaved().length;
    const all = corrections.standing().length;
    const many = (count) => count.toLocaleString("en");
    el("unsaved").textContent = served() && unsaved && !failed ? "saving\u2026"
      : unsaved ? `${many(unsaved)} ${served() ? "not saved" : "unsaved"}` : all ? `${many(all)} saved` : "";
    el("unsaved").classList.toggle("is-error", served() && failed && unsaved > 0);
    // A served gallery saves by itself; there it is to try again.
    el("save").hidden = served() ? !(failed && unsaved) : corrections.toSave().length === 0;
    el("save").classList.toggle("primary", unsaved > 0);
    el("undo").disabled = !corrections.canUndo();
    el("name").hidden = all === 0 || Boolean(picsift.stored("picsift-who"));
  }

  async function save() {
    try {
      await corrections.save();
      failed = false;
    } catch (error) {
      failed = true;
      picsift.problem(error);
    } finally {
      tellSaved();
    }
  }

  function changed(rows) {
    for (const r of rows) view.update(r);
    large.update();
    tellSaved();
    if (served()) save();
  }

  // What is true of these rows and the category: yes, no, or (null) nothing that anybody said.
  picsift.correct = (rows, k, is) => {
    const { answers } = picsift.load.known(k);
    const was = (r) => (answers[r] === picsift.UNKNOWN ? null : answers[r] === 1);
    corrections.change(rows.map((row) => ({ row, category: k, was: was(row), is })));
    changed(rows);
  };

  // Yes or no for the pictures that are selected; where there are none, for the current one, and on to the next.
  function decide(is) {
    const picked = large.isOpen() ? [] : view.picked();
    if (picked.length) {
      picsift.correct(picked, view.state.k, is);
      view.pickNone();
      return;
    }
    const r = view.row();
    if (r === undefined) return;
    picsift.correct([r], view.state.k, is);
    picsift.move(1);
  }

  function undo() {
    const rows = corrections.undo();
    if (rows.length) changed(rows);
  }

  picsift.move = (by) => {
    view.select(view.place() + by, !large.isOpen());
    large.show();
    address.write();
  };
  const { move } = picsift;

  // With Shift the pictures between are selected.
  function step(by, event) {
    if (event.shiftKey && !large.isOpen()) view.extend(view.place() + by);
    else move(by);
  }

  // Where a line of pictures counts as one step.
  const line = () => (large.isOpen() ? 1 : view.columns());

  function pick() {
    if (!large.isOpen() && view.row() !== undefined) view.pick(view.row());
  }

  function askName() {
    if (!picsift.stored("picsift-who")) el("who").value = corrections.lastSaver();
    if (!el("keys").open) el("keys").showModal();
  }

  // The name is kept as it is typed: a dialog's close event comes later than the next key may.
  function named() {
    picsift.store("picsift-who", el("who").value.trim());
    tellSaved();
  }

  function closeKeys() {
    named();
    el("keys").close();
  }

  const KEYS = {
    ArrowRight: (event) => step(1, event), j: () => move(1), ArrowLeft: (event) => step(-1, event), k: () => move(-1),
    ArrowDown: (event) => step(line(), event), ArrowUp: (event) => step(-line(), event),
    y: () => decide(true), n: () => decide(false), u: undo, s: save, x: pick,
    "?": askName, "/": () => { if (!large.isOpen()) { openFilters(true); el("find").select(); } },
    Home: () => move(-view.count()), End: () => move(view.count()),
    Escape: () => { if (!large.isOpen()) view.pickNone(); },
  };

  addEventListener("keydown", (event) => {
    if (el("keys").open) return;
    const { target } = event;
    if (target.matches("input:not(.pick), select, textarea")) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "a" && !large.isOpen()) {
      event.preventDefault();
      view.pickAll();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") {
      if (target.matches("button, summary")) return;
      event.preventDefault();
      large.open();
      return;
    }
    const act = KEYS[event.key];
    if (!act) return;
    // Escape is the dialog's own.
    if (event.key !== "Escape") event.preventDefault();
    act(event);
  });

  function number(id, fallback) {
    const value = Number.parseFloat(el(id).value);
    // Scores are floats of 32 bits: 0.9 among them is a little less than 0.9.
    return Number.isFinite(value) ? Math.fround(Math.min(1, Math.max(0, value))) : fallback;
  }

  async function filter() {
    const { state } = view;
    const k = Number(el("category").value);
    address.write();
    // Cards are drawn and corrected by the state, which must not be of a category that is still to come.
    await picsift.load.category(k);
    if (k !== Number(el("category").value)) return;
    const other = k !== state.k;
    Object.assign(state, {
      k, answer: el("answer").value, find: el("find").value.trim().toLowerCase(), sort: el("sort").value, min: number("min", 0), max: number("max", 1),
      errors: el("errors").checked, disagree: el("disagree").checked && picsift.meta().categories[k].truth, corrected: el("corrected").checked,
    });
    if (other) side.show(k);
    // A word about pictures that nobody sees would be a mistake.
    view.pickNone();
    await view.refresh(false);
  }

  function loosen() {
    for (const id of ["find", "answer", "min", "max"]) el(id).value = { find: "", answer: "all", min: "0", max: "1" }[id];
    for (const id of ["errors", "disagree", "corrected"]) el(id).checked = false;
    return filter();
  }

  function openFilters(is) {
    el("filters").classList.toggle("open", is);
    el("more-filters").setAttribute("aria-expanded", String(is));
  }

  // Shows what the address says.
  async function arrive() {
    const row = address.read();
    await filter();
    if (row === null) { large.close(); return; }
    if (view.go(row)) large.open();
  }

  function takeBack() {
    if (view.row() !== undefined) picsift.correct([view.row()], view.state.k, null);
  }

  function listen() {
    el("filters").addEventListener("input", () => filter().catch(picsift.problem));
    el("filters").addEventListener("submit", (event) => event.preventDefault());
    el("find").addEventListener("keydown", (event) => {
      if (event.key === "Enter") view.select(0, true);
    });
    const clicks = {
      undo, save, help: askName, name: () => { askName(); el("who").select(); }, "keys-close": closeKeys,
      previous: () => move(-1), next: () => move(1), close: large.close, yes: () => decide(true), no: () => decide(false), "take-back": takeBack,
      "picked-yes": () => decide(true), "picked-no": () => decide(false), "picked-all": view.pickAll, "picked-clear": view.pickNone,
      "more-filters": () => openFilters(!el("filters").classList.contains("open")), loosen: () => loosen().catch(picsift.problem),
    };
    for (const [id, act] of Object.entries(clicks)) el(id).addEventListener("click", () => act());
    el("who").value = picsift.stored("picsift-who") || "";
    el("who").addEventListener("input", named);
    el("who").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      closeKeys();
    });
    let asked = false;
    addEventListener("scroll", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => { asked = false; view.draw(); });
    }, { passive: true });
    addEventListener("resize", view.layout);
    addEventListener("hashchange", () => arrive().catch(picsift.problem));
    addEventListener("beforeunload", (event) => { if (corrections.unsaved().length) event.preventDefault(); });
  }

  async function start() {
    await picsift.load.start();
    const meta = picsift.meta();
    document.title = `${meta.title} \u2013 picsift`;
    el("title").textContent = meta.title;
    const model = [meta.model, meta.revision].filter(Boolean).join(", ");
    el("about").textContent = model ? `Answered by ${model}.` : "";
    el("saving-how").textContent = served()
      ? "Corrections are saved as you make them."
      : "Save gives a file, corrections.jsonl. picsift gallery --serve saves corrections as they are made.";
    document.body.classList.toggle("served", served());
    el("errors-label").hidden = meta.errors === 0;
    el("errors-label").append(` (${meta.errors.toLocaleString("en")})`);
    meta.categories.forEach((category, k) => el("category").append(new Option(category.called, String(k))));
    listen();
    // On a phone the pictures come first.
    el("more").open = innerWidth > 760;
    side.show(0);
    tellSaved();
    await arrive();
    // What an earlier page could not save.
    if (served() && corrections.unsaved().length) save();
    document.body.dataset.ready = "true";
  }

  start().catch(picsift.problem);
})();
