"use strict";
(() => {
  const table = document.getElementById("runs");
  const form = document.getElementById("controls");
  const search = document.getElementById("search");
  const filters = [...form.querySelectorAll("[data-filter]")];
  const sorter = document.getElementById("sort");
  const heads = [...table.querySelectorAll("th")];
  const original = [...table.tBodies];

  const valueOf = (body, column) => body.rows[0].cells[column].dataset.value;

  // numbers before texts, rows without a value last in either direction
  const compare = (a, b, down) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const numbers = [Number(a), Number(b)];
    const order = numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
    return down ? -order : order;
  };

  const sortBy = (column, down) => {
    const rows = [...original];
    if (column !== null) rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), down));
    table.append(...rows);
    heads.forEach((head, index) =>
      head.setAttribute("aria-sort", index === column ? (down ? "descending" : "ascending") : "none"));
    sorter.value = column === null ? "" : String(column);
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const body of original) {
      const text = body.textContent.toLowerCase();
      const values = JSON.parse(body.dataset.filters);
      const fits = words.every((word) => text.includes(word)) &&
        filters.every((select) => select.value === "" || values[select.dataset.filter] === select.value);
      body.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").value = `${shown} of ${original.length} rows`;
    document.getElementById("none").hidden = shown > 0;
  };

  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const body = target && target.closest("tbody");
    if (!body) return;
    body.hidden = false;
    (target.tagName === "DETAILS" ? target : body.querySelector("details")).open = true;
  };

  heads.forEach((head, index) => head.firstElementChild.addEventListener("click", () =>
    sortBy(index, head.getAttribute("aria-sort") === "ascending")));
  sorter.addEventListener("change", () => sortBy(sorter.value === "" ? null : Number(sorter.value), false));
  search.addEventListener("input", filter);
  filters.forEach((select) => select.addEventListener("change", filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("[type=reset]").addEventListener("click", (event) => {
    event.preventDefault();
    form.reset();
    sortBy(null, false);
    filter();
  });
  addEventListener("hashchange", reveal);
  reveal();
})();
(() => {
  const form = document.getElementById("pairs-controls");
  if (!form) return;
  const [task, run, changed] = ["task", "run", "changed"].map((name) => document.getElementById(`pairs-${name}`));
  const pairs = [...document.querySelectorAll("#pairs article")];
  const filter = () => {
    let shown = 0;
    for (const pair of pairs) {
      const fits = (task.value === "" || pair.dataset.task === task.value) &&
        (run.value === "" || pair.dataset.run === run.value) &&
        (!changed.checked || pair.dataset.changed === "yes");
      pair.hidden = !fits;
      shown += fits;
    }
    document.getElementById("pairs-count").value = `${shown} of ${pairs.length} answers`;
  };
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
})();
