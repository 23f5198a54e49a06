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
