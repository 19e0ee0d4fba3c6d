// The strip beside the phones: what the network counted, and what the service kept.

import { element, icon } from "./bubbles.js";

const DURING = {
  model: "while the model was being asked",
  send: "while a reply was being sent",
  webhook: "while a webhook was being stored",
};
const KINDS = { image: "a picture", audio: "a voice note", location: "a place" };

const byId = (id) => document.getElementById(id);

export function drawProof(proof) {
  for (const id of ["service", "proof"]) byId(id).hidden = proof === null;
  document.body.classList.toggle("with-proof", proof !== null);
  if (proof === null) return;
  drawService(proof);
  drawBooks(proof.books);
  byId("proof-empty").hidden = proof.entries.length > 0;
  drawEntries(proof.entries);
}

function drawService({ pid, totals }) {
  byId("service").dataset.state = pid === null ? "down" : "up";
  byId("service-word").textContent = pid === null ? "Down" : "Running";
  byId("service-process").textContent = pid === null ? "starting again…" : `process ${pid}`;
  byId("kill").setAttribute("aria-disabled", String(pid === null));
  for (const name of ["delivered", "acted", "replies"]) byId(`figure-${name}`).textContent = totals[name];
}

function drawBooks(books) {
  const place = byId("books");
  const wrong = books?.breaches[0];
  place.dataset.state = wrong ? "wrong" : "right";
  if (!books) {
    place.replaceChildren("The books are being verified…");
  } else if (wrong) {
    place.replaceChildren(element("strong", "", "The books are wrong: "), wrong);
  } else {
    const detail = `${counted(books.transfers, "ledger row")}, ${clock(books.at_ms)}`;
    place.replaceChildren(icon("icon-tick"), element("strong", "", `Books verified ${times(books.times)}`), element("span", "", detail));
  }
}

// Only what changed is drawn again, so that nothing is read out twice.
function drawEntries(entries) {
  const list = byId("proof-list");
  const before = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = entries.map((entry) => {
    const key = entry.kind === "message" ? entry.id : `restart ${entry.at_ms}`;
    const state = JSON.stringify(entry);
    const known = before.get(key);
    if (known?.dataset.entry === state) return known;
    const made = entry.kind === "message" ? messageItem(entry) : restartItem(entry);
    made.dataset.key = key;
    made.dataset.entry = state;
    if (!known && before.size > 0) made.classList.add("arrives");
    return made;
  });
  items.reverse();
  if (items.length !== list.children.length || items.some((item, place) => list.children[place] !== item)) {
    list.replaceChildren(...items);
  }
}

function messageItem(message) {
  const said = message.words || KINDS[message.type] || message.type;
  const verb = message.type === "interactive" ? " tapped " : message.words ? ": " : " sent ";
  const head = element("p", "entry-head", element("strong", "", message.customer), verb, element("span", "said", said));
  const item = element("li", "entry", at(message.at_ms), head, element("p", "entry-proof", ...proofOf(message)));
  item.append(...deedsOf(message.deeds));
  item.dataset.state = message.is_finished ? "done" : "busy";
  return item;
}

// A deed that stood in the ledger twice would be shown as done twice.
function deedsOf(deeds) {
  const rows = new Map();
  for (const { deed, amount, transfer } of deeds) {
    const key = `${amount} ${deed} ${transfer}`;
    rows.set(key, { deed, amount, transfer, count: (rows.get(key)?.count ?? 0) + 1 });
  }
  return [...rows.values()].map(({ deed, amount, transfer, count }) =>
    element("p", "deed", `${amount} ${deed} ${times(count)}`, element("span", "", ` ${transfer}`)));
}

function proofOf({ delivered, unanswered, acted, attempts, replies, state, is_finished: isFinished }) {
  const vain = unanswered > 0 ? ` after ${counted(unanswered, "try", "tries")} in vain` : "";
  const arrived = delivered > 0 ? `Delivered ${times(delivered)}${vain}` : `Not delivered yet${vain}`;
  if (!isFinished) return [arrived, ", ", element("em", "", state === null ? "not on disk yet" : "in progress…")];
  if (state === "silent") return [`${arrived}, kept: nothing to answer`];
  const failed = state === "failed" ? "failed, " : "";
  const did = element("strong", "", `${failed}acted ${times(acted)}, answered ${times(replies)}`);
  return [`${arrived}, `, did, attempts > 1 ? " (resumed)" : ""];
}

function restartItem(restart) {
  const { is_ours: isOurs, unfinished, during } = restart;
  const idle = unfinished > 0 ? "between two steps of a turn" : "while nothing was in progress";
  const how = isOurs ? ` ${DURING[during] ?? idle}` : ", not by this button";
  const head = element("p", "entry-head", icon("icon-bolt"), element("strong", "", isOurs ? "Killed" : "Ended"), how);
  const item = element("li", "entry restart", at(restart.at_ms), head, element("p", "entry-proof", ...restartWords(restart)));
  item.dataset.state = restart.back_s !== null && restart.resumed === unfinished ? "done" : "busy";
  return item;
}

function restartWords({ back_s: back, unfinished, resumed, replies, moved, held, is_verified: isVerified }) {
  if (back === null) return [element("em", "", "Starting again…")];
  const came = `Back after ${back.toFixed(1)} s, `;
  const books = isVerified ? ", books verified" : "";
  if (unfinished === 0) return [`${came}nothing was left undone${books}`];
  const what = counted(unfinished, "message");
  if (resumed < unfinished) return [came, element("em", "", `resuming ${what}…`)];
  const answers = unfinished === 1 ? `answered ${times(replies)}` : `${counted(replies, "answer")}`;
  const money = [moved && `money moved ${times(moved)}`, held && `money held ${times(held)}`].filter(Boolean);
  return [`${came}resumed ${what}: `, element("strong", "", [answers, ...money].join(", ") + books)];
}

function at(ms) {
  const time = element("time", "", clock(ms));
  time.dateTime = new Date(ms).toISOString();
  return time;
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

function times(count) {
  return { 0: "never", 1: "once", 2: "twice" }[count] ?? `${count} times`;
}

function counted(count, noun, plural = `${noun}s`) {
  return `${count} ${count === 1 ? noun : plural}`;
}
