/** The simulator: a surgeon's hand on a canvas, streamed at display rate. */

import { HttpError, Surgeries, Tokens } from "./api.js";
import { FRAGMENTS, Field, HEIGHT, WIDTH } from "./anatomy.js";
import { RealtimeClient } from "./client.js";
import { labelOf } from "./events.js";
import { count, duration, fill, find, score, showLink } from "./page.js";
import { Painter } from "./painter.js";
import { Simulation } from "./simulation.js";

const STORED = "vitalwire.operation";
const AGAIN_MS = 10_000;
const KEY_SPEED = 7; // scene units a second
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const page = find("main").dataset;
const tokens = new Tokens(page.tokenUrl);
const surgeries = new Surgeries(tokens);
const canvas = find("#field");
const painter = new Painter(canvas);
const held = new Set();

let field = new Field();
let simulation = null;
let waiting = null;
let startedAt = 0;
let then = performance.now();
let target = { ...field.tip };
let phase = "idle";

// --- The hand ---------------------------------------------------------------------------

function onPointer(event) {
  target = painter.placeOf(event);
}

canvas.addEventListener("pointermove", onPointer);
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  const place = painter.placeOf(event);
  if (event.pointerType !== "mouse") {
    // A finger lands where it lands: it did not cut its way there.
    field.tip = { ...field.tip, ...place };
  }
  target = place;
  field.pressDown();
});
["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => field.lift()));

canvas.addEventListener("keydown", (event) => {
  if (event.key in ARROWS) {
    held.add(event.key);
    event.preventDefault();
  } else if (event.key === " ") {
    if (!event.repeat) {
      field.pressDown();
    }
    event.preventDefault();
  }
});
canvas.addEventListener("keyup", (event) => {
  held.delete(event.key);
  if (event.key === " ") {
    field.lift();
  }
});
canvas.addEventListener("blur", () => {
  held.clear();
  field.lift();
});

function followKeys(elapsedMs) {
  for (const key of held) {
    const [dx, dy] = ARROWS[key];
    target.x += (dx * KEY_SPEED * elapsedMs) / 1000;
    target.y += (dy * KEY_SPEED * elapsedMs) / 1000;
  }
  target.x = Math.min(WIDTH / 2, Math.max(-WIDTH / 2, target.x));
  target.y = Math.min(HEIGHT / 2, Math.max(-HEIGHT / 2, target.y));
}

function coordinates() {
  return [field.tip.x, field.tip.y, field.tip.z].map((value) => Math.round(value * 1000) / 1000);
}

// --- One frame of the display is one frame on the wire ------------------------------------

function onFrame(now) {
  const elapsedMs = Math.min(100, now - then);
  then = now;
  followKeys(elapsedMs);
  if (phase === "operating") {
    field.move(target.x, target.y, elapsedMs);
    const event = field.nextEvent();
    simulation.send(coordinates(), event);
    showTally(event);
  }
  painter.paint(field, now);
  requestAnimationFrame(onFrame);
}


function showTally(event) {
  if (event !== "NONE") {
    const progress = event === "TUMOR_REMOVAL" ? `: ${field.removed} of ${FRAGMENTS}` : "";
    fill(document, { last: labelOf(event) + progress });
    remember();
  }
  fill(document, {
    removed: field.removed,
    touches: field.scratches.length,
    bleedings: field.wounds.length,
    frames: count(simulation.made),
    waiting: count(simulation.backlog),
    clock: duration((Date.now() - startedAt) / 1000),
    place: coordinates().map((value) => value.toFixed(2)).join("  "),
  });
}

// --- The operation ------------------------------------------------------------------------

/** Phases: idle, found (unfinished, after a reload), operating, finishing, halted, saved. */
function enter(next) {
  phase = next;
  document.body.dataset.phase = next;
  find("#veil").hidden = next === "operating";
  find("#start").hidden = next !== "idle";
  find("#resume").hidden = next !== "found";
  find("#retry").hidden = next !== "halted";
  find("#again").hidden = next !== "saved";
  find("#finish").disabled = next !== "operating";
  find("#result").hidden = next !== "saved";
  find("#guide").hidden = next === "saved";
}

function veil(title, text) {
  fill(document, { title, text });
}

function begin({ surgeryId, isResumed }) {
  stopWaiting();
  simulation = new Simulation({ surgeryId, tokens, surgeries, onState, onSaved, isResumed });
  simulation.connect();
  painter.forget();
  fill(document, { last: "" });
  enter("operating");
  remember();
  canvas.focus();
}

function start() {
  field = new Field();
  target = { ...field.tip };
  startedAt = Date.now();
  // crypto.randomUUID exists on secure origins only; a ward may serve plain HTTP.
  begin({ surgeryId: randomUuid(), isResumed: false });
  simulation.send(coordinates(), "START");
  showTally("START");
}

function resume() {
  const stored = recall();
  field = Field.restored(stored.field);
  startedAt = stored.startedAt;
  begin({ surgeryId: stored.surgeryId, isResumed: true });
}

function finish() {
  field.lift();
  // What happened in the last moment goes before FINISH.
  while (field.events.length) {
    simulation.send(coordinates(), field.nextEvent());
  }
  simulation.finishWith(coordinates());
  showTally("FINISH");
  awaitSaved();
}

function awaitSaved() {
  enter("finishing");
  veil("Saving the operation", "The last movements are on their way. Please keep this page open.");
}

function onState({ state, text }) {
  showLink({ state: state === "done" ? "live" : state, text });
  if (state === "stopped") {
    field.lift();
    enter("halted");
    veil("The connection was refused", `${text}. What you did so far is kept on this page.`);
  }
}

function tryAgain() {
  if (simulation.finish) {
    awaitSaved();
  } else {
    enter("operating");
  }
  simulation.connect();
}

function onSaved(surgeryId) {
  forget();
  enter("saved");
  veil("Operation saved", "Its analysis is shown beside the field as soon as it arrives.");
  fill(document, { last: "", score: "–", feedback: "Waiting for the analysis…" });
  find("#details").href = page.operationUrl.replace("00000000-0000-0000-0000-000000000000", surgeryId);
  awaitAnalysis(surgeryId);
}

/** Wait to be told of the analysis, which may have come before we listened. */
function awaitAnalysis(surgeryId) {
  const mine = new RealtimeClient({
    url: "/ws/pubsub", token: () => tokens.renewed(), recovers: false,
  });
  const look = () => showAnalysis(surgeryId, mine);
  waiting = mine;
  mine.on("Broadcast", look);
  mine.onReady(look);
  mine.subscribe([`surgeries.${surgeryId}`]);
  mine.connect();
}

/** Show the score and the feedback, if they are there; `mine` is the client that waits for them. */
async function showAnalysis(surgeryId, mine) {
  try {
    const analysed = await surgeries.trajectory(surgeryId);
    if (waiting === mine && analysed.score !== null && analysed.feedback !== null) {
      fill(document, { score: score(analysed.score), feedback: analysed.feedback });
      find("#result").scrollIntoView({ block: "nearest" });
      stopWaiting();
    }
  } catch (error) {
    if (waiting !== mine) {
      return;
    }
    if (error instanceof HttpError && error.status < 500) {
      fill(document, { feedback: "The operation is saved, but its analysis cannot be read." });
      stopWaiting();
    } else {
      setTimeout(() => waiting === mine && showAnalysis(surgeryId, mine), AGAIN_MS);
    }
  }
}

/** The analysis is there, or another operation begins. */
function stopWaiting() {
  waiting?.close();
  waiting = null;
}

// --- Across a reload ----------------------------------------------------------------------

function remember() {
  const { surgeryId } = simulation;
  sessionStorage.setItem(STORED, JSON.stringify({ surgeryId, startedAt, field: field.snapshot() }));
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function forget() {
  sessionStorage.removeItem(STORED);
}

function randomUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

find("#start").addEventListener("click", start);
find("#again").addEventListener("click", start);
find("#go-on").addEventListener("click", resume);
find("#give-up").addEventListener("click", () => {
  forget();
  location.reload();
});
find("#finish").addEventListener("click", finish);
find("#retry").addEventListener("click", tryAgain);
window.addEventListener("beforeunload", (event) => {
  if (["operating", "finishing", "halted"].includes(phase)) {
    event.preventDefault();
  }
});

enter(recall() ? "found" : "idle");
if (phase === "found") {
  veil("An operation is unfinished", "This window was operating when it was closed or reloaded.");
}
requestAnimationFrame(onFrame);
