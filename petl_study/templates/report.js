// A click on a column's name sorts its table: numbers by their value, the rest by name; a second click turns it round.
// Empty cells stay last either way.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending" ||
      (head.classList.contains("num") && head.getAttribute("aria-sort") !== "descending");
    const key = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
      const order = head.classList.contains("num")
        ? Number(key(a)) - Number(key(b))
        : key(a).localeCompare(key(b), "en", { numeric: true });
      return down ? -order : order;
    };
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort(compare));
  });
}
