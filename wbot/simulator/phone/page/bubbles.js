// Draws one message of a chat. User text only ever becomes text nodes.

const FORMAT = new RegExp(
  [
    "```(?<block>[\\s\\S]+?)```",
    "`(?<code>[^`\\n]+)`",
    "(?<![\\p{L}\\p{N}])(?<mark>[*_~])(?=\\S)(?<marked>[^\\n]*?\\S)\\k<mark>(?![\\p{L}\\p{N}])",
    "(?<receipt>\\u{1f9fe})",
    "(?<link>https?://[^\\s<>\"]+[^\\s<>\".,;:!?)])",
  ].join("|"),
  "u",
);
const MARKS = { "*": "strong", _: "em", "~": "s" };
const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u200d|\ufe0f){1,6}$/u;
const STATES = {
  sending: ["icon-clock", "on its way"],
  sent: ["icon-tick", "sent"],
  delivered: ["icon-ticks", "delivered"],
  read: ["icon-ticks", "read"],
  failed: ["icon-failed", "not delivered"],
};

export function element(name, classes, ...children) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function icon(name, classes = "") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", classes);
  svg.append(use);
  return svg;
}

// WhatsApp's formatting: *bold*, _italic_, ~strike~, `code`, ```block```; links become links.
export function formatted(text) {
  const fragment = document.createDocumentFragment();
  let rest = text;
  for (let found = FORMAT.exec(rest); found; found = FORMAT.exec(rest)) {
    fragment.append(rest.slice(0, found.index), drawnMatch(found.groups));
    rest = rest.slice(found.index + found[0].length);
  }
  fragment.append(rest);
  return fragment;
}

function drawnMatch({ block, code, mark, marked, receipt, link }) {
  if (block !== undefined) return element("code", "block", block);
  if (code !== undefined) return element("code", "", code);
  if (mark !== undefined) return element(MARKS[mark], "", formatted(marked));
  if (receipt !== undefined) return element("span", "receipt", receipt); // not every font has it
  return anchor(link, link);
}

function anchor(href, ...content) {
  const made = element("a", "", ...content);
  if (/^https?:\/\//.test(href)) made.href = href;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

// What a quotation of this message shows.
export function summaryOf({ message }) {
  const type = message.type ?? "text";
  const content = message[type] ?? {};
  if (type === "text") return content.body ?? "";
  if (type === "interactive") {
    const reply = content.button_reply ?? content.list_reply;
    return reply?.title ?? content.body?.text ?? "";
  }
  return content.caption || content.text || content.name || { image: "Picture", audio: "Voice note", location: "Location" }[type] || type;
}

export function bubble(data, { quoted, onTap, onList }) {
  const side = data.mine ? "mine" : "theirs";
  const item = element("li", `bubble ${side}`);
  item.dataset.id = data.id;
  item.append(element("span", "unseen", data.mine ? "You: " : "Business: "));
  if (quoted) item.append(element("span", "quote", formatted(summaryOf(quoted))));
  const body = element("div", "body", ...content(data.message));
  body.append(metaOf(data));
  item.append(body, ...actions(data, { onTap, onList }));
  item.append(element("span", "reaction"), element("p", "why"));
  update(item, data);
  return item;
}

// Brings an existing bubble up to its state, without drawing its text again.
export function update(item, data) {
  item.dataset.state = data.state;
  item.querySelector(".meta").replaceWith(metaOf(data));
  item.querySelector(".reaction").textContent = data.reaction;
  item.querySelector(".why").textContent = data.state === "failed" ? `Not delivered. ${data.reason}` : "";
}

function metaOf({ at_ms: atMs, state, mine }) {
  const when = new Date(atMs);
  const time = element("time", "", when.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" }));
  time.dateTime = when.toISOString();
  const [name, words] = STATES[state];
  const tick = icon(name, `tick ${state}`);
  const meta = element("span", "meta", time, tick, element("span", "unseen", words));
  meta.title = mine ? `Your message: ${words}` : `What the business is told: ${words}`;
  return meta;
}

function text(words) {
  const big = EMOJI_ONLY.test(words.trim()) ? "text big" : "text";
  return element("span", big, formatted(words));
}

function content(message) {
  const type = message.type ?? "text";
  const draw = CONTENT[type];
  return draw ? draw(message[type] ?? {}) : [note(type)];
}

function note(type) {
  return element("span", "text note", `(a message of type ${type})`);
}

function card(iconName, title, detail) {
  const words = element("span", "card-words", element("strong", "", title), element("span", "", detail));
  return element("span", "card", element("span", "card-icon", icon(iconName)), words);
}

function picture({ id, link, caption }) {
  const image = element("img", "picture");
  image.alt = caption || "Picture";
  if (id) image.src = `/phone/media/${encodeURIComponent(id)}`;
  const shown = id ? image : card("icon-picture", "Picture", link ?? "");
  return [shown, caption ? text(caption) : null];
}

function voice({ id, voice: isVoice }) {
  const wave = element("span", "wave");
  for (let bar = 0; bar < 28; bar += 1) {
    const line = element("i", "");
    line.style.height = `${4 + Math.abs(Math.sin(bar * 1.7) * Math.cos(bar * 0.6)) * 18}px`;
    wave.append(line);
  }
  const label = isVoice === false ? "audio" : "voice note";
  if (!id) return [element("span", "voice", icon("icon-play", "play"), wave, element("span", "unseen", label))];
  return [element("span", "voice", ...player(id, label, wave))];
}

function player(id, label, wave) {
  const audio = element("audio", "");
  audio.src = `/phone/media/${encodeURIComponent(id)}`;
  const button = element("button", "play");
  button.type = "button";
  const length = element("span", "length");
  const draw = () => {
    button.replaceChildren(icon(audio.paused ? "icon-play" : "icon-pause"));
    button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${label}`);
    const whole = Number.isFinite(audio.duration) ? audio.duration : 0;
    const done = whole ? audio.currentTime / whole : 0;
    [...wave.children].forEach((bar, place) => bar.classList.toggle("played", place < done * wave.children.length));
    length.textContent = `0:${String(Math.ceil(audio.currentTime || whole)).padStart(2, "0")}`;
  };
  for (const event of ["durationchange", "play", "pause", "timeupdate"]) audio.addEventListener(event, draw);
  audio.addEventListener("ended", () => (audio.currentTime = 0));
  audio.addEventListener("error", () => (length.textContent = "cannot be played"));
  button.addEventListener("click", () => {
    if (!audio.paused) return audio.pause();
    for (const other of document.querySelectorAll("audio")) other.pause();
    return audio.play().catch(() => {});
  });
  draw();
  return [button, wave, length, audio];
}

function place({ latitude, longitude, name, address }) {
  const map = element("span", "map", icon("icon-location", "pin"));
  const where = name || `${latitude}, ${longitude}`;
  return [map, element("span", "card-words", element("strong", "", where), element("span", "", address ?? ""))];
}

function interactive({ type, header, body, footer, button_reply: button, list_reply: list }) {
  const reply = button ?? list;
  if (reply) {
    const detail = reply.description ? element("span", "footer", reply.description) : null;
    return [text(reply.title), detail];
  }
  return [
    header?.type === "text" ? element("strong", "header", header.text) : null,
    header && header.type !== "text" ? element("strong", "header", `(${header.type})`) : null,
    text(body?.text ?? `(${type})`),
    footer ? element("span", "footer", footer.text) : null,
  ];
}

const CONTENT = {
  text: ({ body }) => [text(body ?? "")],
  image: picture,
  sticker: picture,
  video: ({ caption }) => [card("icon-play", "Video", ""), caption ? text(caption) : null],
  audio: voice,
  document: ({ filename, caption }) => [card("icon-document", filename ?? "Document", ""), caption ? text(caption) : null],
  location: place,
  contacts: (people) => people.map(({ name }) => card("icon-person", name?.formatted_name ?? "Contact", "Contact")),
  interactive,
  button: ({ text: words }) => [text(words ?? "")],
  template: ({ name }) => [text(`Template ${name ?? ""}`)],
};

function actions({ id, mine, message }, { onTap, onList }) {
  const { type, action } = mine ? {} : (message.interactive ?? {});
  if (type === "button") {
    return action.buttons.map(({ reply }) => tapButton("icon-reply", reply.title, () => onTap(id, reply)));
  }
  if (type === "list") return [tapButton("icon-list", action.button, () => onList(id, action))];
  if (type === "cta_url") {
    const { display_text: words, url } = action.parameters;
    const link = anchor(url, icon("icon-link"), words);
    link.className = "tap";
    return [link];
  }
  return [];
}

function tapButton(iconName, title, act) {
  const button = element("button", "tap", icon(iconName), title);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}
