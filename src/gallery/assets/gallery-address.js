// The state in the address, behind the #: what is shown, and the picture that is large. A link to it shows the same.
"use strict";
picsift.address = (() => {
  const el = (id) => document.getElementById(id);
  // Browsers refuse pages that change their address all the time.
  const PAUSE = 300;
  const CHOICES = ["answer", "sort"];
  const CHECKS = ["disagree", "corrected", "errors"];
  const RANGE = { min: "0", max: "1" };
  let later;

  function text() {
    const parts = new URLSearchParams();
    const { categories } = picsift.meta();
    if (Number(el("category").value) !== 0) parts.set("category", categories[Number(el("category").value)].name);
    if (el("find").value.trim()) parts.set("find", el("find").value.trim());
    for (const id of CHOICES) if (el(id).selectedIndex > 0) parts.set(id, el(id).value);
    for (const [id, usual] of Object.entries(RANGE)) if (el(id).value !== "" && Number(el(id).value) !== Number(usual)) parts.set(id, el(id).value);
    for (const id of CHECKS) if (el(id).checked) parts.set(id, "1");
    if (picsift.large.isOpen() && picsift.view.row() !== undefined) parts.set("picture", picsift.view.row());
    return parts.toString();
  }

  function write() {
    clearTimeout(later);
    later = setTimeout(() => {
      const state = text();
      // Without the query: a served gallery's link has its key there, which is nobody else's.
      const address = location.pathname + (state ? `#${state}` : "");
      try { history.replaceState(null, "", address); } catch { /* then the address stays as it was */ }
    }, PAUSE);
  }

  // Sets the filters as the address says, what it does not say or cannot mean as they begin; the row that is to be large, if any.
  function read() {
    clearTimeout(later);
    const parts = new URLSearchParams(location.hash.slice(1));
    const { categories, rows } = picsift.meta();
    const k = categories.findIndex((category) => category.name === parts.get("category"));
    el("category").value = String(Math.max(0, k));
    el("find").value = parts.get("find") || "";
    for (const id of CHOICES) {
      const places = [...el(id).options].map((option) => option.value);
      el(id).selectedIndex = Math.max(0, places.indexOf(parts.get(id)));
    }
    for (const [id, usual] of Object.entries(RANGE)) {
      const value = Number.parseFloat(parts.get(id));
      el(id).value = value >= 0 && value <= 1 ? String(value) : usual;
    }
    for (const id of CHECKS) el(id).checked = parts.get(id) === "1";
    const row = /^\d{1,9}$/.test(parts.get("picture") || "") ? Number(parts.get("picture")) : NaN;
    return row < rows ? row : null;
  }

  return { write, read };
})();
