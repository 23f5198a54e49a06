// Links with hx-target="#dialog-body" open in the dialog; without this script they are ordinary pages.
document.addEventListener("htmx:after:swap", () => {
  const dialog = document.getElementById("dialog");
  const filled = document.getElementById("dialog-body").childElementCount > 0;
  if (filled && !dialog.open) {
    dialog.showModal();
  }
});
document.addEventListener("click", (event) => {
  const dialog = document.getElementById("dialog");
  const leave = event.target === dialog || event.target.closest("#dialog [data-close]");
  if (leave) {
    event.preventDefault();
    dialog.close();
  }
});
document.getElementById("dialog").addEventListener("close", () => {
  document.getElementById("dialog-body").replaceChildren();
});
// Arrow keys move between the cells of a heat map.
document.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const cell = event.target.closest(".heat td");
  const move = moves[event.key];
  if (!cell || !move) {
    return;
  }
  event.preventDefault();
  let [column, row] = [cell.cellIndex, cell.parentElement.sectionRowIndex];
  const rows = cell.closest("tbody").rows;
  for (;;) {
    column += move[0];
    row += move[1];
    const next = rows[row]?.cells[column];
    if (!next || next.tagName === "TH") {
      return;
    }
    const link = next.querySelector("a");
    if (link) {
      link.focus();
      return;
    }
  }
});
// Nobody looks at a hidden tab.
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden) {
    event.preventDefault();
  }
});
// What is shown is old once the platform does not answer.
document.addEventListener("htmx:error", () => {
  document.getElementById("stale").hidden = false;
});
document.addEventListener("htmx:after:swap", () => {
  document.getElementById("stale").hidden = true;
});
