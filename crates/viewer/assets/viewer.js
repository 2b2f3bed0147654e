"use strict";

// Times in the zone of the reader.
function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (!Number.isNaN(at.getTime())) {
      element.title = element.dateTime;
      element.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    }
  }
}

// More turns when the reader comes near the place where they are missing. What the reader looks at stays where it is.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) load(entry.target);
  }
}, { rootMargin: "1200px" });

async function load(link) {
  seen.unobserve(link);
  const answer = await fetch(link.href);
  if (!answer.ok) return;
  const part = document.createElement("template");
  part.innerHTML = await answer.text();
  const place = link.closest("p.more");
  const before = document.documentElement.scrollHeight;
  localTimes(part.content);
  const links = [...part.content.querySelectorAll("a[data-more]")];
  place.replaceWith(part.content);
  if (link.dataset.more === "older") window.scrollBy(0, document.documentElement.scrollHeight - before);
  for (const each of links) seen.observe(each);
}

// A thread that is being written grows on the page.
function follow(main) {
  const events = new EventSource(main.dataset.live);
  events.addEventListener("turns", (event) => {
    const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80;
    const part = document.createElement("template");
    part.innerHTML = event.data;
    localTimes(part.content);
    for (const turn of [...part.content.children]) {
      const known = document.getElementById(turn.id);
      if (known) {
        const open = new Set([...known.querySelectorAll("details[open]")].map((each) => each.closest(".item")?.id));
        for (const item of turn.querySelectorAll(".item")) {
          if (open.has(item.id)) item.querySelector("details")?.setAttribute("open", "");
        }
        known.replaceWith(turn);
      } else {
        document.getElementById("turns").append(turn);
      }
    }
    if (atEnd) window.scrollTo(0, document.documentElement.scrollHeight);
  });
}

// Keys: / searches, j and k move over rows or messages of the user, o or Enter opens, g and G go to the beginning and the end.
function move(by) {
  const all = [...document.querySelectorAll("a.row, a.hit, .item.user-message")];
  const current = document.querySelector(".current");
  let next = all.indexOf(current) + by;
  if (!current && !document.querySelector("a.row, a.hit")) {
    const top = window.scrollY + 60;
    const below = all.findIndex((each) => each.getBoundingClientRect().top + window.scrollY > top);
    next = by > 0 ? below : below - 1;
  }
  const target = all[Math.max(0, Math.min(all.length - 1, next))];
  if (!target) return;
  current?.classList.remove("current");
  target.classList.add("current");
  target.scrollIntoView({ block: "center" });
  if (target.matches("a")) target.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
  const actions = {
    "/": () => document.querySelector("input[type=search]")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    o: () => document.querySelector("a.current")?.click(),
    g: () => window.scrollTo(0, 0),
    G: () => window.scrollTo(0, document.documentElement.scrollHeight),
  };
  const action = actions[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});

localTimes(document);
const main = document.querySelector("main.transcript[data-thread]");
if (main) {
  if (!location.hash && !new URLSearchParams(location.search).has("turn")) window.scrollTo(0, document.documentElement.scrollHeight);
  for (const link of document.querySelectorAll("a[data-more]")) seen.observe(link);
  if (main.dataset.live) follow(main);
}
