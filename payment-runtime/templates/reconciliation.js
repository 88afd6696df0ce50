// One box chooses every difference of the page. Without this script each is chosen by itself.
"use strict";
const all = document.getElementById("all");
if (all) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of document.querySelectorAll('input[form="bulk"][name="id"]')) {
      box.checked = all.checked;
    }
  });
}
