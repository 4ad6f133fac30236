"use strict";

// How often the state is asked for, and how long an answer may take, in milliseconds.
const PERIOD = 2000, PATIENCE = 5000;
// How many moves are shown, and from how many addresses on the list of a node is folded.
const MOVES = 50, FOLD = 40;

// element makes an element with attributes and children; texts are never taken for HTML.
function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map((h) => element("th", { scope: "col" }, h)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((c) => element("td", {}, c))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", { "aria-label": caption }, element("thead", {}, head), element("tbody", {}, ...body)));
}

// bar is a bar of some per cent, with its value for those who can't see it.
function bar(label, text, percent, kind) {
  const fill = element("div");
  fill.style.width = percent + "%";
  return element("div", {
    class: "bar " + kind, role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": String(Math.round(percent)), "aria-valuetext": text,
  }, fill);
}

function show(id, ...children) {
  const section = document.getElementById(id);
  section.querySelector(".content").replaceChildren(...children);
  section.hidden = children.length === 0;
}

const code = (text) => element("code", {}, text);
const faint = (text) => element("p", { class: "faint" }, text);
const plural = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;

// number writes a count. A pool of IPv6 may have more addresses than JavaScript can count to.
function number(n) {
  if (n < 1e15) return n.toLocaleString("en");
  const power = Math.floor(Math.log10(n));
  return `${(n / 10 ** power).toFixed(1)} × 10^${power}`;
}

function when(text) {
  const t = new Date(text);
  const day = t.toDateString() === new Date().toDateString() ? "" : t.toLocaleDateString("sv") + " ";
  return element("time", { datetime: text }, day + t.toLocaleTimeString("sv"));
}

function showPools(state) {
  const rows = state.pools.map((p) => {
    const percent = p.total > 0 ? 100 * p.inUse / p.total : 0;
    const kind = percent > 95 ? "bad" : percent > 75 ? "warn" : "good";
    const text = `${number(p.inUse)} of ${number(p.total)} in use`;
    return element("div", { class: "row", "data-pool": p.name, "data-family": p.family },
      element("div", { class: "head" },
        element("h3", {}, `${p.name} `, element("span", { class: "faint" }, p.family)),
        element("span", { class: kind }, `${text} (${percent > 0 && percent < 1 ? "less than 1" : Math.floor(percent)} %)`)),
      bar(`Pool ${p.name}, ${p.family}`, text, percent, kind));
  });
  show("pools", ...(rows.length ? rows : [faint("There are none.")]));
}

// byNode groups the addresses by the node that announces them. Speakers without any are there too; "" is nobody.
function byNode(state) {
  const nodes = new Map();
  for (const m of state.members ?? []) if (!m.observer) nodes.set(m.name, { member: m, addresses: [] });
  const held = new Set();
  for (const h of state.holders ?? []) {
    if (!nodes.has(h.node)) nodes.set(h.node, { addresses: [] });
    nodes.get(h.node).addresses.push(h);
    held.add(h.addr);
  }
  const orphans = [...servicesOf(state).keys()].filter((addr) => !held.has(addr));
  if (orphans.length && state.listening) nodes.set("", { addresses: orphans.map((addr) => ({ addr })) });
  return nodes;
}

// servicesOf maps each address to the names of the Services that have it.
function servicesOf(state) {
  const services = new Map();
  for (const s of state.services) {
    for (const addr of s.addrs ?? []) services.set(addr, [...services.get(addr) ?? [], s.name]);
  }
  return services;
}

function showNodes(state) {
  if (!state.listening) return show("nodes", faint("This controller does not hear the speakers."));
  const services = servicesOf(state), nodes = byNode(state);
  const most = Math.max(1, ...[...nodes.values()].map((n) => n.addresses.length));
  const rows = [...nodes.keys()].sort((a, b) => (a === "") - (b === "") || a.localeCompare(b)).map((name) => {
    const { member, addresses } = nodes.get(name);
    const title = name || "Announced by nobody", text = plural(addresses.length, "address", "addresses");
    const kind = name ? "good" : "warn";
    const note = !member || member.announcing ? "" : member.draining ? " is being drained" : " can't answer now";
    const head = element("div", { class: "head" }, element("h3", {}, title, element("span", { class: "warn" }, note)),
      element("span", {}, text));
    const row = element("div", { class: "row", "data-node": name }, head, bar(title, text, 100 * addresses.length / most, kind));
    if (addresses.length) row.append(addressList(title, addresses, services));
    return row;
  });
  show("nodes", ...(rows.length ? rows : [faint("No speaker is in sight.")]));
}

function addressList(title, addresses, services) {
  const rows = addresses.map((h) => [code(h.addr), (services.get(h.addr) ?? ["no Service"]).join(", "),
    (h.interfaces ?? []).join(", "), h.since ? when(h.since) : ""]);
  const fold = element("details", {}, element("summary", {}, "Addresses"),
    table(`Addresses of ${title}`, ["Address", "Service", "Interface", "Since"], rows));
  fold.open = addresses.length <= FOLD;
  return fold;
}

function showServices(state) {
  const rows = state.services.filter((s) => s.waiting || s.stranded).map((s) => [s.name,
    element("span", { class: s.waiting ? "bad" : "warn" }, s.reason || (s.waiting ? "Waiting" : "Stranded")),
    (s.addrs ?? []).join(", "), s.message ?? ""]);
  const heads = ["Service", "Reason", "Has", "Message"];
  show("waiting", ...(rows.length ? [table("Services without what they ask for", heads, rows)] : []));
}

function showConflicts(state) {
  const rows = (state.conflicts ?? []).map((c) => [code(c.addr), code(c.mac), c.node ?? "", c.interface]);
  const heads = ["Address", "Used by the host with MAC", "Seen by node", "On interface"];
  show("conflicts", ...(rows.length ? [table("Conflicts", heads, rows)] : []));
}

const CAUSES = {
  first: "new address", failure: "holder failed", drain: "holder drained", unfit: "holder became unfit", preferred: "preferred node",
};

function showMoves(state) {
  const rows = (state.moves ?? []).slice(0, MOVES).map((m) => [when(m.at), code(m.addr), m.from || "nobody", m.to,
    CAUSES[m.cause] ?? m.cause, m.took ? `${(m.took / 1e9).toFixed(2)} s` : ""]);
  show("moves", rows.length ? table("Recent moves", ["Time", "Address", "From", "To", "Cause", "Failover took"], rows)
    : faint(state.listening ? "None since this controller started." : "This controller does not hear the speakers."));
}

function showConfig(state) {
  const { pools, error, warnings = [] } = state.config;
  const parts = [];
  if (error) {
    const force = pools ? `An older one is in force, with ${plural(pools, "pool", "pools")}.` : "None is in force.";
    parts.push(element("p", { class: "bad" }, `The newest configuration is refused. ${force}`), element("pre", {}, error));
  } else {
    parts.push(element("p", { class: "good" }, `The newest configuration is in force, with ${plural(pools, "pool", "pools")}.`));
  }
  if (warnings.length) parts.push(element("p", { class: "warn" }, "Left out, or perhaps not meant:"), element("pre", {}, warnings.join("\n")));
  show("config", ...parts);
}

// problems are what a user should look at, in a sentence each.
function problems(state) {
  const list = [];
  if (state.notReady) list.push(`The controller is not ready: ${state.notReady}`);
  if (!state.leading) return [...list, "This controller stands by; another one leads. invar ui finds it."];
  if (state.config.error) list.push("The newest configuration is refused.");
  const waiting = state.services.filter((s) => s.waiting).length;
  if (waiting) list.push(`${plural(waiting, "Service waits", "Services wait")} for an address.`);
  const stranded = state.services.reduce((n, s) => n + (s.stranded ?? 0), 0);
  if (stranded) list.push(`${plural(stranded, "address lies", "addresses lie")} in no pool any more.`);
  const conflicts = new Set((state.conflicts ?? []).map((c) => c.addr)).size;
  if (conflicts) list.push(`${plural(conflicts, "address is", "addresses are")} used by a host outside the cluster.`);
  const full = state.pools.filter((p) => p.total > 0 && p.inUse >= p.total);
  for (const p of full) list.push(`Pool ${p.name} has no ${p.family} address left.`);
  return list;
}

function render(state) {
  const role = state.leading ? "leads" : "stands by";
  document.getElementById("controller").textContent = `${state.identity} ${role}, version ${state.version}`;
  const list = problems(state), section = document.getElementById("problems");
  section.hidden = list.length === 0;
  section.querySelector("ul").replaceChildren(...list.map((text) => element("li", {}, text)));
  document.title = list.length ? `(${list.length}) Invar` : "Invar";
  if (state.leading) {
    showPools(state);
    showServices(state);
    showConfig(state);
  } else {
    for (const id of ["pools", "waiting", "config"]) show(id);
  }
  showNodes(state);
  showConflicts(state);
  showMoves(state);
}

let shown = "", answered = null;

// refresh asks for the state and shows it. What has not changed is left as it is, with what the user has folded or selected.
async function refresh() {
  const freshness = document.getElementById("freshness");
  try {
    const answer = await fetch("state", { signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error((await answer.text()).trim() || `answer ${answer.status}`);
    const state = await answer.json();
    const { now, ...rest } = state, text = JSON.stringify(rest);
    if (text !== shown) render(state);
    shown = text;
    answered = new Date(now);
    document.body.classList.remove("stale");
    freshness.className = "";
    freshness.replaceChildren("As of ", when(now));
  } catch (err) {
    document.body.classList.add("stale");
    freshness.className = "problem";
    const old = answered ? ` What is shown is of ${answered.toLocaleTimeString("sv")}.` : "";
    freshness.textContent = `No answer from the controller (${err.message}).${old}`;
  }
}

// A page that nobody sees asks for nothing.
async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, PERIOD);
}
loop();
