"use strict";
// Sorting: a click on a column's head orders the rows by data-sort, again turns the order round.
// Rows without a number stay last. Without this script the page reads the same, unsorted.
for (const table of document.querySelectorAll("table.sortable")) {
  const head = table.tHead.rows[table.tHead.rows.length - 1];
  const body = table.tBodies[0];
  [...head.cells].forEach((cell, index) => {
    cell.querySelector("button").addEventListener("click", () => {
      const first = index === 0 ? "ascending" : "descending";
      const other = index === 0 ? "descending" : "ascending";
      const order = cell.getAttribute("aria-sort") === first ? other : first;
      for (const sibling of head.cells) sibling.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[index].dataset.sort;
      const compare = (a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
        return sign * (Number(key(a)) - Number(key(b)));
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// What is folded opens when a link leads into it, and on paper.
{
  const reveal = (element) => {
    for (let place = element; place; place = place.parentElement) {
      if (place.tagName === "DETAILS") place.open = true;
    }
  };
  const follow = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target) {
      reveal(target);
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(reveal));
  if (location.hash) follow();
}
