/** One operation: its replay in 3D, its events, its metrics; followed live while it runs. */

import { SignedOut, Surgeries, Tokens, readJson } from "./api.js";
import { RealtimeClient } from "./client.js";
import { MARKED, colourOf, labelOf } from "./events.js";
import { described } from "./metrics.js";
import {
  count, duration, exactly, fill, find, localiseTimes, score, showLink, showStatus, showTime, throttled,
} from "./page.js";
import { Player, timesOf } from "./player.js";
import { Scene } from "./scene.js";
import { Track } from "./track.js";

const FRAME_MS = 66;
const LISTED_MAX = 500;
const MARKS_MAX = 1000;

const { surgeryId, tokenUrl, detailUrl } = find("main").dataset;
const tokens = new Tokens(tokenUrl);
const surgeries = new Surgeries(tokens);
const client = new RealtimeClient({
  url: "/ws/pubsub", token: () => tokens.renewed(), recovers: false,
});

const track = new Track();
const player = new Player();
const scene = new Scene(find(".plot"));
const controls = {
  play: find("#play"), speed: find("#speed"), seek: find("#seek"), marks: find("#marks"),
  clock: find("#clock"), events: find("#events"), note: find("#replay-note"),
};
let drawnAt = -Infinity;
let shownLength = 0;
let frame = 0;

// --- Drawing ------------------------------------------------------------------------

function draw() {
  const index = player.index;
  if (index >= 0) {
    scene.showUpTo(index, track.length, track.movements[index]);
  }
  controls.seek.value = player.position;
  const clock = `${exactly(player.position / 1000)} of ${exactly(player.duration / 1000)}`;
  controls.seek.setAttribute("aria-valuetext", clock);
  controls.clock.textContent = clock;
  controls.play.textContent = player.isPlaying ? "Pause" : "Play";
}

function onFrame(now) {
  if (player.isPlaying) {
    player.tick(now);
    if (now - drawnAt >= FRAME_MS || !player.isPlaying) {
      drawnAt = now;
      draw();
    }
    frame = requestAnimationFrame(onFrame);
  }
}

/** Take over what `track` holds now; whoever watched the end goes on watching it. */
function showTrack() {
  if (track.length === shownLength && shownLength > 0) {
    return;
  }
  const wasAtEnd = !player.isPlaying && player.isAtEnd;
  shownLength = track.length;
  player.times = timesOf(track.movements);
  if (wasAtEnd) {
    player.seek(player.duration);
  }
  controls.note.hidden = track.length > 0;
  controls.play.disabled = track.length < 2;
  controls.seek.max = player.duration;
  fill(document, { movements: count(track.length) });
  scene.showWhole(track.movements);
  showEvents();
  draw();
}

function showEvents() {
  const events = track.movements
    .map(({ event }, index) => ({ event, at: player.times[index] }))
    .filter(({ event }) => MARKED.includes(event));
  for (const event of MARKED) {
    fill(document, { [event]: count(events.filter((each) => each.event === event).length) });
  }
  controls.marks.replaceChildren(...events.slice(0, MARKS_MAX).map(markOf));
  controls.events.replaceChildren(...events.slice(0, LISTED_MAX).map(entryOf));
  find("#no-events").hidden = events.length > 0;
}

function markOf({ event, at }) {
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.title = labelOf(event);
  mark.style.color = colourOf(event);
  mark.style.left = `${player.duration ? (at / player.duration) * 100 : 0}%`;
  return mark;
}

function entryOf({ event, at }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "key";
  button.style.setProperty("--key", colourOf(event));
  button.textContent = `${exactly(at / 1000)}  ${labelOf(event)}`;
  button.addEventListener("click", () => seekTo(at));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function seekTo(position) {
  player.seek(position);
  draw();
}

// --- What the server knows -----------------------------------------------------------

async function readTrajectory() {
  try {
    const { movements } = await surgeries.trajectory(surgeryId);
    track.refill(movements);
    controls.note.textContent = "No movement has been recorded yet.";
    showTrack();
  } catch (error) {
    explain(error, "The trajectory could not be read.");
  }
  if (track.hasHole) {
    trajectoryWanted();
  }
}

async function readMetrics() {
  try {
    const metrics = await surgeries.metrics(surgeryId);
    find("#metrics").replaceChildren(...described(metrics).map(pairOf));
    find("#metrics-note").hidden = true;
  } catch (error) {
    find("#metrics-note").textContent = "No metrics yet.";
    explain(error, null);
  }
}

async function readDetail() {
  try {
    const operation = await readJson(detailUrl);
    showStatus(find("[data-status]"), operation.status);
    showTime(find("#ended"), operation.endTime);
    fill(document, {
      duration: duration(operation.durationInSeconds),
      score: score(operation.score),
      feedback: operation.feedback ?? "The analysis has not arrived yet.",
    });
  } catch (error) {
    explain(error, null);
  }
}

function explain(error, otherwise) {
  if (error instanceof SignedOut) {
    client.close();
    showLink({ state: "stopped", text: "Signed out: sign in again" });
  } else if (otherwise) {
    controls.note.hidden = false;
    controls.note.textContent = otherwise;
  }
}

function pairOf([title, text]) {
  const pair = document.createElement("div");
  const term = document.createElement("dt");
  const figure = document.createElement("dd");
  term.textContent = title;
  figure.textContent = text;
  pair.append(term, figure);
  return pair;
}

// --- Wiring ---------------------------------------------------------------------------

const trajectoryWanted = throttled(readTrajectory, 1000);
const trackGrew = throttled(showTrack, 250);
const onEvent = {
  SURGERY_STARTED: () => readDetail(),
  SURGERY_MOVED: ({ offset, movements }) => {
    track.take(offset, movements);
    (track.hasHole ? trajectoryWanted : trackGrew)();
  },
  SURGERY_INTERRUPTED: () => readDetail(),
  NEW_SURGERY: () => {
    trajectoryWanted();
    readMetrics();
    readDetail();
  },
  SURGERY_ANALYSED: () => readDetail(),
};

client.on("Broadcast", ({ payload }) => {
  if (payload.surgeryId === surgeryId) {
    onEvent[payload.event]?.(payload);
  }
});
client.onState(showLink);
client.onReady(() => {
  readTrajectory();
  readMetrics();
  readDetail();
});

controls.play.addEventListener("click", () => {
  if (player.isPlaying) {
    player.pause();
    draw();
  } else {
    player.play(performance.now());
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(onFrame);
  }
});
controls.speed.addEventListener("change", () => {
  player.speed = Number(controls.speed.value);
});
controls.seek.addEventListener("input", () => seekTo(Number(controls.seek.value)));
document.querySelectorAll("[data-event]").forEach((key) => {
  key.style.setProperty("--key", colourOf(key.dataset.event));
});

localiseTimes();
client.subscribe([`surgeries.${surgeryId}`, "surgeries.completed"]);
client.connect();
