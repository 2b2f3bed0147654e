"use strict";

const status = document.getElementById("status");
const main = document.querySelector("main");
const transcript = document.querySelector("main.transcript[data-thread]");

// At once: a long way would take seconds, and load everything that it passes.
function scrollTo(top) {
  window.scroll({ top, behavior: "instant" });
}

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

// Buttons that copy: the text of an item as it was written, and code as it is shown.
function copyButtons(root) {
  for (const line of root.querySelectorAll("a.raw[data-text]")) {
    line.after(copyButton("copy", "Copy the text of this item", async () => (await fetch(line.dataset.text)).text()));
  }
  for (const code of root.querySelectorAll(".item pre.code")) {
    code.after(copyButton("copy code", "Copy this code", async () => code.textContent));
  }
}

function copyButton(label, description, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = label;
  button.setAttribute("aria-label", description);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(await text());
      button.textContent = "copied";
    } catch (error) {
      button.textContent = "not copied";
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

// The HTML of turns and their parts as the server sent it: what is the same is left as it is, with all that a reader has opened.
const rendered = new WeakMap();

// Makes a part of a page ready: one that came with the page, or later.
function prepare(root) {
  for (const part of root.querySelectorAll(".turn, .turn > *, .item")) rendered.set(part, part.outerHTML);
  localTimes(root);
  copyButtons(root);
}

// Parses a part of a page that this server has rendered.
function parsed(html) {
  const part = document.createElement("template");
  part.innerHTML = html;
  prepare(part.content);
  return part.content;
}

// Several turns can have one id. Those that come later get another one, as TurnAnchors of the server does within a page. `home` is the
// turn to which items are added.
function distinct(content, home) {
  for (const turn of content.querySelectorAll(".turn")) {
    if (!document.getElementById(turn.id)) continue;
    const id = turn.id, other = `${id}-start-${turn.dataset.start}`;
    turn.id = other;
    rename(turn, id, other);
    turn.setAttribute("aria-labelledby", `${other}-title`);
  }
  const item = home && content.querySelector(".item");
  if (item) rename(content, item.id.replace(ITEM_NUMBER, ""), home.id);
  return content;
}

// What the id of the element of an item ends with.
const ITEM_NUMBER = /-item-(\d+)$/;

function rename(root, id, other) {
  if (id === other) return;
  for (const each of root.querySelectorAll(`[id^="${id}"]`)) each.id = each.id.replace(id, other);
  for (const each of root.querySelectorAll(`a[href^="#${id}"]`)) each.setAttribute("href", each.getAttribute("href").replace(id, other));
}

// More turns, or items of a long turn, when the reader comes near the place where they are missing. What the reader looks at stays where it is.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) load(entry.target);
  }
}, { rootMargin: "1200px" });

async function load(link) {
  seen.unobserve(link);
  const answer = await fetch(link.href).catch(() => undefined);
  if (!answer?.ok) {
    status.textContent = "This part could not be loaded. Follow the link to try again.";
    return;
  }
  const content = distinct(parsed(await answer.text()), link.closest(".turn"));
  const place = link.closest("p.more");
  const isOlder = link.dataset.more === "older";
  const links = [...content.querySelectorAll("a[data-more]")];
  const before = document.documentElement.scrollHeight;
  place.replaceWith(content);
  if (isOlder) scrollTo(window.scrollY + document.documentElement.scrollHeight - before);
  for (const each of links) seen.observe(each);
  // The newest item is here now: from here on the page follows the thread.
  const isEnd = !isOlder && !document.querySelector("a[data-more=newer]");
  if (isEnd && transcript && !transcript.dataset.live) follow(`/threads/${transcript.dataset.thread}/live`);
}

// A thread that is being written grows on the page. A page that is not seen does not follow it: a browser has few connections for
// all of its pages.
function follow(path) {
  transcript.dataset.live = path;
  let events, place;
  const close = () => {
    events?.close();
    events = undefined;
  };
  const open = () => {
    const from = place ? `/threads/${transcript.dataset.thread}/live?from=${place}` : path;
    events = new EventSource(from);
    events.addEventListener("open", () => { status.textContent = ""; });
    events.addEventListener("turns", (event) => {
      place = event.lastEventId;
      const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80;
      const changes = [...parsed(event.data).children].filter(put);
      if (atEnd && changes.length > 0) scrollTo(document.documentElement.scrollHeight);
    });
    events.addEventListener("end", (event) => {
      document.removeEventListener("visibilitychange", onVisibility);
      close();
      status.textContent = event.data;
    });
    events.addEventListener("error", () => {
      status.textContent = events?.readyState === EventSource.CLOSED
        ? "This page does not follow the thread any longer. Load it again."
        : "The viewer does not answer. Trying again …";
    });
  };
  const onVisibility = () => {
    if (document.hidden) close();
    else if (!events) open();
  };
  document.addEventListener("visibilitychange", onVisibility);
  onVisibility();
}

// Puts a turn where it was, or at the end. Returns whether that changes the page.
function put(turn) {
  const turns = document.getElementById("turns");
  const known = [...turns.querySelectorAll(".turn")].findLast((each) => each.dataset.start === turn.dataset.start);
  if (!known) {
    const part = document.createElement("template").content;
    part.append(turn);
    turns.append(distinct(part));
    return true;
  }
  if (rendered.get(known) === rendered.get(turn)) return false;
  rendered.set(known, rendered.get(turn));
  // Only what has changed is replaced: what a reader has opened, marked or selected elsewhere stays.
  if (turn.dataset.first || known.dataset.first) return putItems(known, turn);
  const children = [...turn.children];
  children.forEach((child, index) => {
    const old = known.children[index];
    if (!old) known.append(child);
    else if (rendered.get(old) !== rendered.get(child)) replace(old, child);
  });
  while (known.children.length > children.length) known.lastElementChild.remove();
  return true;
}

// Puts some items of a long turn where they belong. The other items stay, and so do the links that load more of them.
function putItems(known, turn) {
  rename(turn, turn.id, known.id);
  const numberOf = (item) => Number(ITEM_NUMBER.exec(item.id)?.[1] ?? 0);
  const items = new Map([...known.querySelectorAll(":scope > .item")].map((item) => [numberOf(item), item]));
  let changed = false, last = [...items.values()].findLast(numberOf);
  for (const child of [...turn.children]) {
    const number = numberOf(child);
    const old = child.matches("header") ? known.querySelector("header") : number ? items.get(number) : undefined;
    if (old) {
      if (rendered.get(old) === rendered.get(child)) continue;
      replace(old, child);
      if (old === last) last = child;
    } else if (number && (!last || numberOf(last) < number)) {
      if (last) last.after(child);
      else known.append(child);
      last = child;
    } else if (child.matches(".item.error")) {
      known.querySelector(":scope > .item.error")?.remove();
      known.append(child);
    } else continue;
    changed = true;
  }
  return changed;
}

function replace(old, child) {
  const details = [...child.querySelectorAll("details")];
  [...old.querySelectorAll("details")].forEach((each, index) => {
    if (each.open && details[index]) details[index].open = true;
  });
  if (old.classList.contains("current")) child.classList.add("current");
  const hasFocus = old.contains(document.activeElement);
  old.replaceWith(child);
  if (hasFocus) child.querySelector("a, summary")?.focus({ preventScroll: true });
}

// Results while typing. The address follows, so that it can be kept and shared.
function instant(input) {
  let timer, asked = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const query = new URLSearchParams([...new FormData(input.form)].filter(([, value]) => value));
      const url = `${location.pathname}?${query}`;
      const number = ++asked;
      const answer = await fetch(url).catch(() => undefined);
      if (!answer?.ok || number !== asked) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (number !== asked) return;
      const found = page.getElementById("found");
      prepare(found);
      document.getElementById("found").replaceChildren(...found.childNodes);
      document.querySelector("details.activity")?.toggleAttribute("hidden", query.has("q"));
      history.replaceState(null, "", url);
    }, 100);
  });
}

// The charts of the home page are loaded when they are opened: they count all threads.
function charts(details) {
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.loaded) return;
    details.dataset.loaded = "1";
    const answer = await fetch(details.dataset.part).catch(() => undefined);
    if (answer?.ok) details.append(parsed(await answer.text()));
    else status.textContent = "The charts could not be loaded.";
  });
  // The link is for readers without scripts.
  details.querySelector("summary a").replaceWith("Activity");
}

// Keys, as the dialog of layout.rs names them.
function move(by) {
  const rows = document.querySelector("a.row, a.hit");
  const all = [...main.querySelectorAll(rows ? "a.row, a.hit" : ".item.user-message")];
  const current = document.querySelector(".current");
  let next = all.indexOf(current) + by;
  if (!current && !rows) {
    const top = window.scrollY + 80;
    const below = all.findIndex((each) => each.getBoundingClientRect().top + window.scrollY > top);
    next = by > 0 ? (below < 0 ? all.length - 1 : below) : (below < 0 ? all.length : below) - 1;
  }
  // Beyond the items of a long turn that are here are more of them: its beginning has its message, and so has the next turn.
  if (!rows && !all[next] && goBeyond(by)) return;
  const target = all[Math.max(0, Math.min(all.length - 1, next))];
  if (!target) return;
  current?.classList.remove("current");
  target.classList.add("current");
  target.scrollIntoView({ block: rows ? "nearest" : "start", behavior: "instant" });
  if (!rows) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

// Goes to the nearest message of the user that is not on the page because only a part of a long turn is. Returns whether it goes.
function goBeyond(by) {
  const turns = [...document.querySelectorAll(".turn")];
  const turn = by > 0 ? turns.at(-1) : turns[0];
  const more = turn?.querySelector(`:scope > .more a[data-more=${by > 0 ? "newer" : "older"}]`);
  if (!more || !turn.dataset.number) return false;
  if (by > 0 && !document.querySelector("#turns > .more a[data-more=newer]")) return false;
  const number = Number(turn.dataset.number) + (by > 0 ? 1 : 0);
  location.assign(`/threads/${transcript.dataset.thread}?number=${number}&item=1#message`);
  return true;
}

// Goes to the item that the address names. Only a script knows what is behind the #: an item that is not on the page has a page of its own.
function goToItem() {
  const hash = decodeURIComponent(location.hash.slice(1));
  const target = document.getElementById(hash);
  // A link to an item of a folded step opens it.
  target?.querySelector("details")?.setAttribute("open", "");
  // The browser would go there slowly, and stop on its way when older turns are loaded.
  target?.scrollIntoView({ block: "start", behavior: "instant" });
  const place = /^turn-([A-Za-z0-9-]+)-item-(\d+)$/.exec(hash);
  const isTried = new URLSearchParams(location.search).get("item") === place?.[2];
  if (place && !target && !isTried) location.replace(`?turn=${place[1]}&item=${place[2]}#${hash}`);
}

const dialog = document.getElementById("keys");
const actions = {
  "/": () => document.querySelector("input[type=search]")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  o: () => document.querySelector("a.current")?.click(),
  g: () => scrollTo(0),
  G: () => scrollTo(document.documentElement.scrollHeight),
  u: () => location.assign("/"),
  "?": () => dialog.showModal(),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const action = actions[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});
for (const button of document.querySelectorAll("[data-keys]")) {
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
}

prepare(document);
// On a narrow page the names of the pages of a thread go beyond its edge. `scrollIntoView` would also move the place from which the Tab
// key goes on, beyond the link that skips the bar.
const page = document.querySelector(".pages [aria-current]");
if (page) {
  const names = page.closest(".pages");
  const [inner, outer] = [page.getBoundingClientRect(), names.getBoundingClientRect()];
  names.scrollLeft += inner.left + inner.width / 2 - (outer.left + outer.width / 2);
}
for (const input of document.querySelectorAll("input[data-instant]")) instant(input);
for (const details of document.querySelectorAll("details.activity")) charts(details);
for (const link of document.querySelectorAll("a[data-more]")) seen.observe(link);
if (transcript) {
  const query = new URLSearchParams(location.search), hash = decodeURIComponent(location.hash.slice(1));
  const isDeep = hash || query.has("turn") || query.has("number");
  // The page begins before the item that is wanted.
  const item = !hash && query.has("item") && document.getElementById(`${document.querySelector(".turn")?.id}-item-${query.get("item")}`);
  if (item) location.replace(`#${item.id}`);
  if (!isDeep) scrollTo(document.documentElement.scrollHeight);
  goToItem();
  window.addEventListener("hashchange", goToItem);
  if (hash === "message") move(1);
  if (transcript.dataset.live) follow(transcript.dataset.live);
}
