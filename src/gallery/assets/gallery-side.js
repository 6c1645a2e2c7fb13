// Beside the pictures: the category's question, its scores as a histogram, and how good it is.
"use strict";
picsift.side = (() => {
  const el = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const FIGURES = [
    ["precision", "Precision"], ["recall", "Recall"], ["f1", "F1"], ["balanced_accuracy", "Balanced accuracy"],
    ["average_precision", "Average precision"], ["roc_auc", "ROC AUC"], ["brier", "Brier score"], ["calibration_error", "Calibration error"],
  ];

  function shape(kind, attributes, text) {
    const made = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function histogram(category) {
    const layers = category.histogram.all
      ? [["all", category.histogram.all]]
      : [["yes-bar", category.histogram.truth.yes], ["no-bar", category.histogram.truth.no]];
    const bins = layers[0][1].length;
    const sums = layers[0][1].map((_, b) => layers.reduce((sum, [, counts]) => sum + counts[b], 0));
    // A root shows the few between the many.
    const height = (count) => 100 * Math.sqrt(count / Math.max(1, ...sums));
    const svg = shape("svg", { viewBox: "0 0 300 130", role: "img", preserveAspectRatio: "none" });
    const wide = 300 / bins;
    sums.forEach((sum, b) => {
      let below = 0;
      for (const [kind, counts] of layers) {
        const part = sum ? height(sum) * (counts[b] / sum) : 0;
        if (part > 0) svg.append(shape("rect", { class: kind, x: b * wide + 0.4, y: 110 - below - part, width: wide - 0.8, height: part }));
        below += part;
      }
    });
    const at = 300 * category.threshold;
    svg.append(shape("line", { class: "axis", x1: 0, y1: 110, x2: 300, y2: 110 }));
    svg.append(shape("line", { class: "threshold", x1: at, y1: 4, x2: at, y2: 112 }));
    svg.append(shape("text", { x: 0, y: 124 }, "0"), shape("text", { x: 293, y: 124 }, "1"));
    const total = sums.reduce((a, b) => a + b, 0);
    const above = sums.reduce((a, count, b) => a + ((b + 0.5) / bins >= category.threshold ? count : 0), 0);
    const said = `${total.toLocaleString("en")} scores, about ${above.toLocaleString("en")} of them from the threshold of ${short(category.threshold)} on`;
    svg.setAttribute("aria-label", `Histogram of ${said}`);
    el("histogram").replaceChildren(svg);
    const colours = layers.length > 1 ? " Green: the truth is yes, grey: no." : "";
    el("histogram-text").textContent = `${said}. The height is the square root of the count.${colours}`;
  }

  const short = (number) => String(Number(number.toPrecision(3)));

  function cell(kind, text) {
    const made = document.createElement(kind);
    made.textContent = text;
    return made;
  }

  function evaluation(category) {
    const judged = category.evaluation;
    if (!judged) { el("evaluation").replaceChildren(); return; }
    const table = document.createElement("table");
    const caption = cell("caption", `Judged on ${Math.round(judged.rows).toLocaleString("en")} rows, ${Math.round(judged.support).toLocaleString("en")} of them true`);
    const body = document.createElement("tbody");
    for (const [key, name] of FIGURES) {
      const figure = judged[key];
      const line = document.createElement("tr");
      const head = cell("th", name);
      head.scope = "row";
      const value = cell("td", figure.value === null ? "\u2013" : figure.value.toFixed(3));
      const range = cell("td", figure.low === null ? "" : `${figure.low.toFixed(2)} to ${figure.high.toFixed(2)}`);
      value.className = range.className = "number";
      line.append(head, value, range);
      body.append(line);
    }
    table.append(caption, body);
    const counts = judged.counts;
    const notes = document.createElement("ul");
    notes.className = "notes";
    const counted = `right: ${short(counts.true_positive)} yes, ${short(counts.true_negative)} no; wrong: ${short(counts.false_positive)} yes, ${short(counts.false_negative)} no`;
    for (const note of [counted, "ranges are 95 % intervals", ...judged.notes, ...picsift.meta().notes]) notes.append(cell("li", note));
    el("evaluation").replaceChildren(table, notes);
  }

  function show(k) {
    const category = picsift.meta().categories[k];
    const asked = category.prompt ? `\u201c${category.prompt}\u201d ` : "";
    el("prompt").textContent = `${asked}yes ${category.held.toLocaleString("en")}, no ${category.refused.toLocaleString("en")}, unknown ${category.unknown.toLocaleString("en")}`;
    histogram(category);
    evaluation(category);
    el("disagree-label").hidden = !category.truth;
  }

  return { show, short };
})();
