// The phones: state from the simulator's events, and what the customers do.

import { bubble, element, update } from "./bubbles.js";
import { drawProof } from "./proof.js";

const NEAR_END_PX = 120;
const TOAST_MS = 5000;
const BUBBLES_MAX = 300; // in one chat, as the simulator keeps them

const phones = [];
const narrow = matchMedia("(max-width: 899px)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const unread = {};
let current = null; // the panel in view, where they are swiped

async function post(path, body) {
  const response = await fetch(`/phone/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    keepalive: true, // what was typed or read still counts when the page is left
  });
  if (!response.ok) throw new Error((await response.json()).error ?? response.statusText);
}

class Phone {
  constructor(customer, businesses, others) {
    this.customer = customer;
    this.suggestions = suggestionsFor(others);
    this.businesses = businesses;
    this.business = businesses[0];
    this.root = document.getElementById("phone-template").content.cloneNode(true).firstElementChild;
    this.log = this.find(".log");
    this.list = this.find(".bubbles");
    this.input = this.find("textarea");
    this.items = new Map();
    this.seen = new Set();
    this.chats = new Map();
    this.typingUntil = new Map();
    this.watcher = new IntersectionObserver((entries) => this.shown(entries), { threshold: 0.5 });
    this.dress();
    this.listen();
    this.chooseBusiness(this.business);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  get chat() {
    return `${this.customer.key}|${this.business.id}`;
  }

  dress() {
    const { name, phone, key } = this.customer;
    this.root.id = `phone-${key}`;
    this.root.setAttribute("aria-label", `${name}'s phone`);
    this.find(".owner-name").textContent = name;
    this.find(".owner-number").textContent = phone ? spaced(phone) : "number hidden";
    this.input.setAttribute("aria-label", `Message from ${name}`);
    this.find(".chips").append(...this.suggestions.map(({ words }) => this.chip(words)));
    this.find(".tries").append(...this.suggestions.map(({ words, hint }) => this.chip(words, hint)));
    const select = this.find("select");
    this.find(".chat-choice").hidden = this.businesses.length < 2;
    select.append(...this.businesses.map((one) => new Option(one.name, one.id)));
    select.addEventListener("change", () => this.chooseBusiness(this.businesses[select.selectedIndex]));
  }

  chip(words, hint) {
    const shown = words.replace(/ (?=\d)/g, "\u00a0"); // a number is not broken over two lines
    const chip = element("button", "", shown, hint ? element("small", "", hint) : null);
    chip.type = "button";
    chip.addEventListener("click", () => this.say(words));
    return chip;
  }

  listen() {
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.sendTyped();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.sendTyped();
      }
    });
    this.input.addEventListener("input", () => this.fit());
    this.log.addEventListener("scroll", () => {
      this.pinned = this.isNearEnd();
      this.showEndButton();
    });
    new ResizeObserver(() => this.follow()).observe(this.list);
    new ResizeObserver(() => this.follow()).observe(this.log);
    this.find(".to-end").addEventListener("click", () => this.toEnd());
    this.listenToMenu();
    this.listenToSheet();
  }

  listenToMenu() {
    const opener = this.find(".attach");
    const menu = this.find(".attach-menu");
    const show = (open) => {
      menu.hidden = !open;
      opener.setAttribute("aria-expanded", String(open));
      if (open) menu.querySelector("button").focus();
    };
    opener.addEventListener("click", () => show(menu.hidden));
    menu.addEventListener("click", (event) => {
      const choice = event.target.closest("button");
      if (!choice) return;
      show(false);
      this.input.focus();
      this.act("attach", { kind: choice.dataset.kind });
    });
    menu.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        moveFocus([...menu.querySelectorAll("button")], step);
      }
      if (event.key === "Escape") {
        show(false);
        opener.focus();
      }
    });
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target) && !opener.contains(event.target)) show(false);
    });
  }

  listenToSheet() {
    const sheet = this.find(".sheet");
    const close = () => {
      sheet.hidden = true;
      this.input.focus();
    };
    this.find(".sheet-close").addEventListener("click", close);
    sheet.addEventListener("click", (event) => event.target === sheet && close());
    sheet.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key === "Tab") {
        event.preventDefault();
        moveFocus([...sheet.querySelectorAll("button")], event.shiftKey ? -1 : 1);
      }
    });
  }

  chooseBusiness(business) {
    this.business = business;
    this.find(".chat-name").textContent = business.name;
    this.find(".avatar").textContent = initials(business.name);
    this.log.setAttribute("aria-label", `Chat between ${this.customer.name} and ${business.name}`);
    this.redraw();
  }

  // A whole new state, after a reload or a broken connection.
  restore(bubbles, typing) {
    this.chats = new Map();
    for (const data of bubbles) this.keep(data);
    this.typingUntil = new Map();
    for (const [chat, ms] of Object.entries(typing)) this.setTyping(chat, ms);
    this.redraw();
  }

  keep(data) {
    if (!this.chats.has(data.chat)) this.chats.set(data.chat, new Map());
    const chat = this.chats.get(data.chat);
    chat.set(data.id, data);
    if (chat.size > BUBBLES_MAX) this.forget(data.chat, chat.keys().next().value);
  }

  forget(chat, id) {
    this.chats.get(chat).delete(id);
    this.items.get(id)?.remove();
    this.items.delete(id);
  }

  owns(chat) {
    return chat.slice(0, chat.lastIndexOf("|")) === this.customer.key;
  }

  redraw() {
    this.watcher.disconnect();
    this.items.clear();
    this.list.replaceChildren();
    for (const data of this.chats.get(this.chat)?.values() ?? []) this.draw(data);
    this.showEmptiness();
    this.drawTyping();
    this.pinned = true;
    this.follow();
  }

  add(data) {
    this.keep(data);
    if (!data.mine) this.setTyping(data.chat, 0);
    if (data.chat !== this.chat) return;
    this.pinned ||= data.mine;
    this.draw(data).classList.add("arrives");
    this.showEmptiness();
    this.follow();
    if (!data.mine && narrow.matches && current !== this.root) countUnread(this.root, 1);
  }

  showEmptiness() {
    this.root.classList.toggle("is-empty", this.items.size === 0);
  }

  draw(data) {
    this.startDay(data);
    const about = data.message.context?.id ?? data.message.context?.message_id;
    const quoted = this.chats.get(this.chat).get(about);
    const item = bubble(data, {
      quoted,
      onTap: (wamid, { id, title }) => this.act("tap", { wamid, id, title }),
      onList: (wamid, action) => this.openSheet(wamid, action),
    });
    const before = this.list.lastElementChild;
    const side = data.mine ? "mine" : "theirs";
    if (!before?.classList.contains(side)) item.classList.add("first");
    if (data.mine && data.message.type === "interactive") this.useUp(about);
    this.list.append(item);
    this.items.set(data.id, item);
    if (!data.mine && data.state !== "read" && data.state !== "failed") this.watcher.observe(item);
    return item;
  }

  startDay({ at_ms: atMs }) {
    const day = new Date(atMs).toDateString();
    if (this.list.childElementCount > 0 && this.day === day) return;
    this.day = day;
    const today = day === new Date().toDateString();
    this.list.append(element("li", "day", today ? "Today" : new Date(atMs).toLocaleDateString()));
  }

  // The buttons of an answered message can be tapped no more.
  useUp(wamid) {
    const buttons = this.items.get(wamid)?.querySelectorAll("button.tap") ?? [];
    for (const button of buttons) button.disabled = true;
  }

  change(data) {
    const kept = this.chats.get(data.chat)?.get(data.id);
    if (!kept) return;
    Object.assign(kept, data);
    const item = this.items.get(data.id);
    if (item) update(item, kept);
  }

  setTyping(chat, ms) {
    this.typingUntil.set(chat, performance.now() + ms);
    if (chat === this.chat) this.drawTyping();
  }

  drawTyping() {
    clearTimeout(this.typingTimer);
    const ms = (this.typingUntil.get(this.chat) ?? 0) - performance.now();
    if (ms > 0) this.typingTimer = setTimeout(() => this.drawTyping(), ms);
    this.find(".typing").hidden = ms <= 0;
    this.find(".chat-presence").textContent = ms > 0 ? "typing…" : "online";
    this.follow();
  }

  shown(entries) {
    const wamids = entries
      .filter(({ isIntersecting, target }) => isIntersecting && !this.seen.has(target.dataset.id))
      .map(({ target }) => target.dataset.id);
    if (wamids.length === 0 || document.hidden) return;
    for (const wamid of wamids) {
      this.seen.add(wamid);
      this.watcher.unobserve(this.items.get(wamid));
    }
    post("read", { wamids }).catch(() => wamids.forEach((wamid) => this.seen.delete(wamid)));
  }

  async act(path, fields) {
    try {
      await post(path, { customer: this.customer.key, business: this.business.id, ...fields });
      return true;
    } catch (error) {
      this.toast(`That did not get through: ${error.message}`);
      return false;
    }
  }

  say(text) {
    return this.act("say", { text });
  }

  async sendTyped() {
    const text = this.input.value;
    if (!text.trim()) return;
    this.input.value = "";
    this.fit();
    if (!(await this.say(text)) && !this.input.value) this.input.value = text;
  }

  openSheet(wamid, { button, sections }) {
    const rows = this.find(".sheet-rows");
    rows.replaceChildren();
    for (const { title, rows: choices } of sections) {
      if (title) rows.append(element("h3", "", title));
      rows.append(...choices.map((row) => this.sheetRow(wamid, row)));
    }
    this.find(".sheet h2").textContent = button;
    this.find(".sheet-card").setAttribute("aria-label", button);
    this.find(".sheet").hidden = false;
    rows.querySelector("button").focus();
  }

  sheetRow(wamid, { id, title, description }) {
    const words = element("span", "", element("strong", "", title), description ? element("small", "", description) : null);
    const row = element("button", "sheet-row", words, element("i", "radio"));
    row.type = "button";
    row.addEventListener("click", () => {
      this.find(".sheet").hidden = true;
      this.input.focus();
      this.act("tap", { wamid, id, title });
    });
    return row;
  }

  toast(words) {
    const toast = this.find(".toast");
    toast.textContent = words;
    toast.hidden = false;
    setTimeout(() => (toast.hidden = true), TOAST_MS);
  }

  fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }

  // Stay at the newest message, unless the customer scrolled away from it.
  follow() {
    if (this.pinned) this.log.scrollTop = this.log.scrollHeight;
    this.showEndButton();
  }

  isNearEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_END_PX;
  }

  showEndButton() {
    this.find(".to-end").hidden = this.isNearEnd();
  }

  toEnd() {
    this.log.scrollTo({ top: this.log.scrollHeight, behavior: "smooth" });
  }
}

function moveFocus(elements, step) {
  const at = elements.indexOf(document.activeElement);
  elements[(at + step + elements.length) % elements.length].focus();
}

// North American numbers in their usual groups, any other as it is.
function spaced(phone) {
  return phone.replace(/^(1)(\d{3})(\d{3})(\d{4})$/, "$1 $2 $3 $4").replace(/^/, "+");
}

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

// What to type, so that an empty phone is no riddle; the payee is on this very screen.
function suggestionsFor(others) {
  const payee = others.find(({ phone }) => phone);
  const pay = payee && { words: `Send $20 to ${spaced(payee.phone)}`, hint: `pays ${payee.name}, on another phone here` };
  return [
    pay ?? { words: "Send $20 to John", hint: "outside: paid out by the business" },
    { words: "What's my balance?", hint: "from the ledger, to the cent" },
    { words: "Show my last payments", hint: "a statement" },
    { words: "Cancel that", hint: "takes the last payment back" },
  ];
}

function countUnread(panel, added) {
  unread[panel.id] = added ? (unread[panel.id] ?? 0) + added : 0;
  const badge = document.getElementById(`tab-${panel.id}`).querySelector(".badge");
  badge.textContent = unread[panel.id];
  badge.hidden = unread[panel.id] === 0;
}

function makeTab(panel, name) {
  const badge = element("span", "badge");
  badge.hidden = true;
  const tab = element("button", "", name, badge);
  tab.type = "button";
  tab.id = `tab-${panel.id}`;
  tab.setAttribute("role", "tab");
  tab.setAttribute("aria-controls", panel.id);
  const behavior = still.matches ? "auto" : "smooth";
  tab.addEventListener("click", () => panel.scrollIntoView({ behavior, inline: "start", block: "nearest" }));
  return tab;
}

// Where panels are swiped, only the one in view takes the keyboard; else all of them do.
function choose(chosen) {
  current = chosen;
  for (const tab of document.getElementById("tabs").children) {
    const panel = document.getElementById(tab.getAttribute("aria-controls"));
    const isChosen = panel === chosen;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    panel.inert = narrow.matches && !isChosen;
    if (isChosen || !narrow.matches) countUnread(panel, 0);
    if (narrow.matches) panel.setAttribute("role", "tabpanel");
    else panel.removeAttribute("role");
  }
}

function build({ customers, businesses }) {
  customers.forEach((customer, place) => {
    const others = [...customers.slice(place + 1), ...customers.slice(0, place)];
    phones.push(new Phone(customer, businesses, others));
  });
  document.getElementById("phones").append(...phones.map(({ root }) => root));
  const tabs = phones.map(({ root, customer }) => makeTab(root, customer.name));
  document.getElementById("tabs").append(...tabs, makeTab(document.getElementById("proof"), "Proof"));
  listenToSwipes([...phones.map(({ root }) => root), document.getElementById("proof")]);
  document.getElementById("kill").addEventListener("click", kill);
  tellTime();
  setInterval(tellTime, 10_000);
}

function listenToSwipes(panels) {
  const tabs = document.getElementById("tabs");
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    moveFocus([...tabs.children].filter(({ hidden }) => !hidden), step);
    document.activeElement.click();
  });
  const came = (entries) => entries.filter(({ isIntersecting }) => isIntersecting).forEach(({ target }) => choose(target));
  const watcher = new IntersectionObserver((entries) => narrow.matches && came(entries), { threshold: 0.6 });
  for (const panel of panels) watcher.observe(panel);
  narrow.addEventListener("change", () => choose(current));
  choose(panels[0]);
}

function showProof(proof) {
  drawProof(proof);
  document.getElementById("tab-proof").hidden = proof === null;
}

async function kill({ currentTarget: button }) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const connection = document.getElementById("connection");
  await post("kill", {}).catch((error) => (connection.textContent = error.message));
}

function tellTime() {
  const now = new Date().toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
  for (const clock of document.querySelectorAll(".clock")) clock.textContent = now;
}

function drawTroubles(troubles) {
  const list = document.getElementById("trouble-list");
  const focused = document.activeElement?.dataset?.trouble;
  list.replaceChildren(...troubles.map(troubleItem));
  if (focused) list.querySelector(`[data-trouble="${CSS.escape(focused)}"]`)?.focus();
  const count = troubles.filter(({ on }) => on).length;
  const badge = document.getElementById("trouble-count");
  badge.textContent = count;
  badge.hidden = count === 0;
}

function troubleItem({ name, label, lasts, on }) {
  const state = lasts ? "" : on ? "waiting" : "once";
  const button = element("button", lasts ? "switch" : "once", element("span", "", label));
  button.append(lasts ? element("i", "") : element("small", "", state));
  button.type = "button";
  button.dataset.trouble = name;
  button.setAttribute(lasts ? "aria-checked" : "aria-pressed", String(on));
  if (lasts) button.setAttribute("role", "switch");
  button.addEventListener("click", () => post("trouble", { name, wanted: !on }).catch(() => {}));
  return element("li", "", button);
}

function ownerOf(chat) {
  return phones.find((phone) => phone.owns(chat));
}

function connect() {
  const connection = document.getElementById("connection");
  const events = new EventSource("/phone/events");
  const on = (name, act) => events.addEventListener(name, ({ data }) => act(JSON.parse(data)));
  on("everything", (state) => {
    connection.textContent = "";
    if (phones.length === 0) build(state);
    showProof(state.proof);
    for (const phone of phones) phone.restore(state.bubbles.filter(({ chat }) => phone.owns(chat)), state.typing);
    drawTroubles(state.troubles);
  });
  on("bubble", (data) => ownerOf(data.chat)?.add(data));
  on("state", (data) => ownerOf(data.chat)?.change(data));
  on("typing", ({ chat, ms }) => ownerOf(chat)?.setTyping(chat, ms));
  on("proof", showProof);
  on("troubles", ({ troubles }) => drawTroubles(troubles));
  events.addEventListener("error", () => (connection.textContent = "Connecting…"));
}

connect();
