"use strict";
const form = document.querySelector(".bar");
const sections = [...document.querySelectorAll("section.results")];
const CHOICES = ["dataset", "profile", "detector", "ratio", "steps"];

// Sorting: a click on a header; a second one turns it round. Numbers start with the largest.
function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v ?? cell.textContent.trim().replace(/^\((.*)\)$/, "$1");
}

function compareNumbers(a, b, direction) {
  const [x, y] = [parseFloat(a), parseFloat(b)];
  if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y); // no number: last, whichever way round
  return direction * (x - y);
}

function sort(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const first = column === 0 ? "ascending" : "descending";
  const other = column === 0 ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const direction = order === "ascending" ? 1 : -1;
  const keyed = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  const compare = column === 0 ? (a, b) => direction * a.localeCompare(b)
    : (a, b) => compareNumbers(a, b, direction);
  keyed.sort((a, b) => compare(a[0], b[0]));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

document.addEventListener("click", (event) => {
  const header = event.target.closest("thead th");
  if (header) sort(header);
});

// Filtering. The state stands in the address, so that a view can be passed on.
function filter() {
  const state = Object.fromEntries(new FormData(form));
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row) => words.every((word) => row.dataset.label.toLowerCase().includes(word))
    && !(state.noise && row.classList.contains("noise"));
  let shown = 0;
  for (const section of sections) {
    const chosen = CHOICES.every((name) => !state[name] || section.dataset[name] === state[name]);
    section.classList.toggle("gone", !chosen);
    const visible = new Set();
    for (const row of section.querySelectorAll("tr[data-row]")) {
      if (fits(row)) visible.add(row.dataset.row);
    }
    for (const mark of section.querySelectorAll("[data-row]")) {
      mark.classList.toggle("gone", !visible.has(mark.dataset.row));
    }
    if (chosen) shown += visible.size;
  }
  for (const row of document.querySelectorAll(".matrix tbody tr")) {
    row.classList.toggle("gone", !fits(row));
  }
  document.documentElement.dataset.metric = state.metric;
  form.elements.count.value = `${shown} row${shown === 1 ? "" : "s"}`;
  const kept = Object.entries(state).filter(([name, v]) => v && !(name === "metric" && v === "bev"));
  const address = kept.length ? "#" + new URLSearchParams(kept) : location.pathname + location.search;
  history.replaceState(null, "", address);
}

function restore() {
  for (const [name, v] of new URLSearchParams(location.hash.slice(1))) {
    const field = form.elements[name];
    if (!field) continue;
    if (field.type === "checkbox") field.checked = true;
    else field.value = v;
  }
  for (const field of form.querySelectorAll("select")) {
    if (field.selectedIndex < 0) field.selectedIndex = 0; // a choice that this page does not have
  }
  filter();
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", restore);

// A row and its marks in the plots light up together.
function light(event) {
  const target = event.target.closest?.("[data-row]");
  for (const hot of document.querySelectorAll(".hot")) hot.classList.remove("hot");
  if (!target) return;
  const section = target.closest("section");
  for (const same of section.querySelectorAll(`[data-row="${target.dataset.row}"]`)) {
    same.classList.add("hot");
  }
}
document.addEventListener("mouseover", light);
document.addEventListener("focusin", light);

restore();
