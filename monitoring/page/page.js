"use strict";
// Asks /api/v1/ every few seconds and shows the answer; when no answer comes, it says so and keeps asking.

const SECONDS = 2;
const SHOWN = 60;
const at = (id) => document.getElementById(id);
const STATES = { assembling: "getting ready", waiting: "waiting for others", alone: "training alone", lagging: "catching up" };
let command = "";
let names;
try { names = new Intl.DisplayNames(["en"], { type: "language" }); } catch { names = null; }

function languageName(code) {
  try { return (names && names.of(code)) || code; } catch { return code; }
}

function stateName(state) {
  return Object.hasOwn(STATES, state) ? STATES[state] : state;
}

function write(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

async function ask(path) {
  const answer = await fetch(`api/v1/${path}`, { cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function showSwarm(swarm) {
  document.title = `${swarm.run.name}: ${swarm.verdict.status}, step ${number(swarm.step, 0)}`;
  write("name", swarm.me ? `${swarm.me.name} in ${swarm.run.name}` : swarm.run.name);
  const size = swarm.run.parameters ? `${amount(swarm.run.parameters)} parameters` : "";
  write("about", [swarm.run.description, size, swarm.me?.state && `this peer: ${stateName(swarm.me.state)}`].filter(Boolean).join(" · "));
  at("verdict").dataset.status = swarm.verdict.status;
  write("words", swarm.verdict.words);
  const percent = Math.min(100, (100 * swarm.step) / swarm.steps);
  write("step", `Step ${number(swarm.step, 0)} of ${number(swarm.steps, 0)}`);
  write("left", [`${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)} %`, swarm.finished ? "finished" : swarm.seconds_to_end === null ? "" : `about ${duration(swarm.seconds_to_end)} to go`].filter(Boolean).join(" · "));
  at("fill").style.width = `${percent}%`;
  at("bar").setAttribute("aria-valuenow", percent.toFixed(0));
  write("trainers", number(swarm.training, 0));
  write("speed", number(swarm.samples_per_second, 1));
  write("loss", swarm.loss.p50 === null ? "–" : swarm.loss.p50.toFixed(3));
  write("interval", duration(swarm.step_interval_seconds));
  write("age", swarm.step_age_seconds === null ? "–" : ago(swarm.step_age_seconds));
  const wide = at("curve").clientWidth || 600;
  curve(at("curve"), swarm.curve, wide, 130, true);
  const others = Object.entries(swarm.peers).filter(([role, count]) => count && role !== "trainer");
  write("others", others.length ? `Also here: ${others.map(([role, count]) => `${count} ${role}${count > 1 ? "s" : ""}`).join(", ")}.` : "");
  command = swarm.run.link ? `bloomswarm join '${swarm.run.link}'` : "";
  at("join").hidden = at("to-join").hidden = !command;
  write("to-join", swarm.me ? "Invite others" : "Take part");
  write("join-title", swarm.me ? "Invite others" : "Take part");
  write("how", `An ordinary computer and a home connection are enough. ${swarm.me ? "They install" : "Install"} Bloomswarm, then run:`);
  write("command", command);
  write("updated", swarm.age_seconds === null ? "not seen yet" : `seen ${ago(swarm.age_seconds)}`);
  showProblems(swarm.problems);
}

function showProblems(problems) {
  at("problems").hidden = !problems.length;
  replace(at("problems"), problems.map((problem) => {
    const card = element("article", undefined, "problem");
    card.dataset.severity = problem.severity;
    card.dataset.problem = problem.problem;
    card.append(element("h3", problem.title), element("p", problem.words));
    const who = problem.peers.slice(0, 8).map((peer) => peer.name).join(", ");
    if (who) card.append(element("p", `Concerns ${who}${problem.peers.length > 8 ? ` and ${problem.peers.length - 8} more` : ""}.`, "quiet"));
    card.append(element("p", `What to do: ${problem.remedy}`));
    return card;
  }));
}

function showPeers(peers, me) {
  replace(at("peers"), peers.slice(0, SHOWN).map((peer) => {
    const row = element("li", undefined, me && peer.peer_id === me.peer_id ? "me" : "");
    row.append(element("b", peer.name, "who"), element("span", peer.role === "trainer" ? stateName(peer.state) : peer.role, "tag"));
    for (const problem of peer.problems.slice(0, 2)) row.append(element("span", problem.replaceAll("-", " "), "tag bad"));
    const given = element("span", peer.role === "trainer" ? number(peer.total_samples, 0) : "", "number quiet");
    if (peer.role === "trainer") given.append(element("span", " samples", "unit"));
    row.append(given);
    return row;
  }));
  if (peers.length > SHOWN) at("peers").append(element("li", `and ${number(peers.length - SHOWN, 0)} more`, "quiet"));
}

function showLanguages(languages) {
  replace(at("languages"), languages.map((row) => {
    const line = element("li");
    const line_name = element("span", undefined, "who");
    line_name.append(element("b", languageName(row.language)), element("span", ` ${row.language}`, "quiet"));
    const svg = drawing("svg", { role: "img", "aria-label": `${row.language}: loss by step` });
    curve(svg, row.curve, 120, 26, false);
    const change = (row.curve.length > 1 ? [row.first_loss, row.loss] : [row.loss]).filter((loss) => loss !== null).map((loss) => loss.toFixed(2)).join(" → ");
    line.append(line_name, svg, element("span", row.loss === null ? "–" : change, "number"));
    if (row.validation !== null) line.append(element("span", `${row.validation.toFixed(2)} bits a byte on held-out text`, "below quiet"));
    return line;
  }));
}

function showRounds(rounds, now) {
  replace(at("rounds"), rounds.slice(0, 12).map((round) => {
    const row = element("tr");
    const cells = [number(round.step, 0), ago(Math.max(0, now - round.time)), duration(round.seconds),
      round.loss === null ? "–" : round.loss.toFixed(3), number(round.peers, 0), number(round.missed, 0)];
    row.append(...cells.map((cell) => element("td", cell)));
    return row;
  }));
}

async function refresh() {
  try {
    const [swarm, peers, languages, rounds] = await Promise.all(["swarm", "peers", "languages", "rounds"].map(ask));
    showSwarm(swarm);
    showPeers(peers.peers, swarm.me);
    showLanguages(languages.languages);
    showRounds(rounds.rounds, swarm.updated + (swarm.age_seconds || 0));
    for (const part of document.querySelectorAll("#peers, #languages, .scroll")) {
      part.tabIndex = part.scrollHeight > part.clientHeight + 1 || part.scrollWidth > part.clientWidth + 1 ? 0 : -1; // by keyboard
    }
    document.body.dataset.ready = "yes";
  } catch (error) {
    at("verdict").dataset.status = "stale";
    write("words", "No answer from the monitor: this page may be out of date.");
  }
  setTimeout(refresh, SECONDS * 1000);
}

at("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(command);
    write("copied", "Copied.");
  } catch {
    getSelection().selectAllChildren(at("command"));
    write("copied", "Selected: press Ctrl+C.");
  }
});
refresh();
