// Tables: sorted by a column, and downloaded as CSV.

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.tagName !== "TH") return;
    const found = button("", () => sort(table, heads, column));
    found.append(...head.childNodes);
    head.replaceChildren(found);
  });
  const region = table.parentElement;
  region.after(
    button(
      "Download as CSV",
      () => download(new Blob([csv(table)], { type: "text/csv" }), `${table.dataset.name.replace(/[^\w]+/g, "_")}.csv`),
      "csv",
    ),
  );
}

function sort(table, heads, column) {
  const head = heads[column];
  const down = head.getAttribute("aria-sort") !== "descending";
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].textContent.trim();
  const number = (text) => parseFloat(text.replace(/,/g, "").replace(/^−/, "-"));
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [x, y] = [number(key(a)), number(key(b))];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // what is unknown stands last
    const order = Number.isNaN(x) ? key(a).localeCompare(key(b)) : x - y;
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

/** What a spreadsheet opens without running anything of it. */
function csv(table) {
  const cell = (element) => {
    const text = element.innerText.replace(/\s+/g, " ").trim().replace(/^−/, "-");
    const safe = /^'*[=+@\-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  return [...table.rows].map((row) => [...row.cells].map(cell).join(",")).join("\r\n") + "\r\n";
}
