"use strict";
// Without this script the page is a list with links to its sections; with it, the links filter.
const filters = [...document.querySelectorAll("nav a")];
const sections = [...document.querySelectorAll("main > section")];
document.querySelector(".keys").hidden = false;

// The address carries the filter or the card, so that reload, back and links from card to card work.
function follow() {
  const id = location.hash.slice(1);
  const target = id && document.getElementById(id);
  const isCard = target && target.matches("article");
  const wanted = target && target.matches("main > section") ? id : "all";
  for (const section of sections) section.hidden = wanted !== "all" && section.id !== wanted;
  for (const link of filters) {
    if (link.hash === "#" + wanted) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (isCard) show(target);
  else if (id) scrollTo(0, 0);
}

function show(card) {
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const cards = [...document.querySelectorAll("main > section:not([hidden]) article")];
  const here = cards.indexOf(document.activeElement.closest("article"));
  const next = here < 0 ? 0 : here + by;
  if (cards[next]) show(cards[next]);
}

const steps = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const card = document.activeElement.closest("article");
  if (event.key in steps) {
    event.preventDefault();
    step(steps[event.key]);
  } else if (event.key === "o" && card) {
    card.querySelector("a.picture")?.click();
  }
});
addEventListener("hashchange", follow);
follow();
