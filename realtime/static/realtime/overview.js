/** The dashboard: connections, operations in progress, the list. Kept current by the server. */

import { SignedOut, Surgeries, Tokens, readJson } from "./api.js";
import { RealtimeClient } from "./client.js";
import { showCounts } from "./hall.js";
import { LiveWall } from "./live.js";
import {
  count, duration, fill, find, fromTemplate, isBefore, localiseTimes, score, showLink, showStatus,
  showTime, throttled,
} from "./page.js";

/** Connection counts come with the heartbeat of each process, every five seconds. */
const COUNTS_MS = 5000;
const LIST_MS = 1000;

const { tokenUrl, overviewUrl, surgeriesUrl, operationUrl } = find("main").dataset;
const NIL = "00000000-0000-0000-0000-000000000000";

const tokens = new Tokens(tokenUrl);
const surgeries = new Surgeries(tokens);
const client = new RealtimeClient({
  url: "/ws/pubsub", token: () => tokens.renewed(), recovers: false,
});
const wall = new LiveWall({
  wall: find("#wall"),
  readTrajectory: (id) => surgeries.trajectory(id),
  onChange: showRunning,
});

function showRunning() {
  const drawn = find("#wall").childElementCount;
  find("#nobody").hidden = drawn > 0;
  find("#more").hidden = wall.unseen.size === 0;
  fill(document, { running: count(wall.running), unseen: count(wall.unseen.size) });
}

function showConnections(processes) {
  const totals = {};
  const rows = processes.map((process) => {
    const row = fromTemplate("process");
    const open = Object.entries(process.connections).filter(([, number]) => number > 0);
    open.forEach(([endpoint, number]) => {
      totals[endpoint] = (totals[endpoint] ?? 0) + number;
    });
    fill(row, {
      place: process.place,
      open: count(open.reduce((sum, [, number]) => sum + number, 0)),
      endpoints: open.map(([endpoint, number]) => `${endpoint} ${count(number)}`).join(" · ") || "none",
    });
    showTime(find("time", row), process.startedAt);
    return row;
  });
  find("#processes").replaceChildren(...rows);
  for (const tile of document.querySelectorAll("[data-endpoint]")) {
    find("dd", tile).textContent = count(totals[tile.dataset.endpoint] ?? 0);
  }
  fill(document, { connections: count(Object.values(totals).reduce((a, b) => a + b, 0)) });
}

function showList({ items, total }) {
  const rows = items.map((item) => {
    const row = fromTemplate("operation");
    row.dataset.surgery = item.surgeryId;
    fill(row, {
      surgeon: item.surgeon,
      duration: duration(item.durationInSeconds),
      movements: count(item.movements),
      score: score(item.score),
    });
    showStatus(find("[data-status]", row), item.status);
    showTime(find("time", row), item.startTime);
    find("a", row).href = operationUrl.replace(NIL, item.surgeryId);
    return row;
  });
  find("#operations tbody").replaceChildren(...rows);
  find("#operations").hidden = rows.length === 0;
  find("#no-operations").hidden = rows.length > 0;
  fill(document, { total: count(total) });
}

/** The position of the last thing we heard of an operation. */
let operationsHeardUpto = null;

async function refresh({ withWall = false } = {}) {
  try {
    const state = await readJson(overviewUrl);
    showConnections(state.connections);
    showCounts("status", state.statuses);
    showCounts("severity", state.severities);
    if (withWall && isBefore(state.position, operationsHeardUpto)) {
      // It was read before something that we have heard of since.
      everythingChanged();
    } else if (withWall) {
      wall.sync(state.inProgress);
    }
  } catch (error) {
    stopWhenSignedOut(error);
  }
}

async function refreshList() {
  try {
    showList(await readJson(`${surgeriesUrl}${location.search}`));
  } catch (error) {
    stopWhenSignedOut(error);
  }
}

function stopWhenSignedOut(error) {
  if (error instanceof SignedOut) {
    clearInterval(counting);
    client.close();
    showLink({ state: "stopped", text: "Signed out: sign in again" });
  }
}

const listChanged = throttled(refreshList, LIST_MS);
const everythingChanged = throttled(() => refresh({ withWall: true }), LIST_MS);

const countsChanged = throttled(() => refresh(), LIST_MS);

const onEvent = {
  DEVICE_STATUS_CHANGED: countsChanged,
  ALERT_RAISED: countsChanged,
  ALERT_UPDATED: countsChanged,
  SURGERY_STARTED: (payload) => {
    wall.started(payload);
    listChanged();
  },
  SURGERY_MOVED: (payload) => {
    if (!wall.moved(payload)) {
      everythingChanged();
    }
  },
  SURGERY_INTERRUPTED: ({ surgeryId }) => {
    wall.ended(surgeryId, "interrupted");
    listChanged();
  },
  NEW_SURGERY: ({ surgeryId }) => {
    wall.ended(surgeryId, "completed");
    listChanged();
  },
  SURGERY_ANALYSED: () => listChanged(),
};

client.on("Broadcast", ({ topic, payload, metadata }) => {
  if (topic.startsWith("surgeries.") && metadata.position) {
    operationsHeardUpto = metadata.position;
  }
  onEvent[payload.event]?.(payload);
});
client.onState(showLink);
client.onReady(() => {
  refresh({ withWall: true });
  refreshList();
});

localiseTimes();
find("#filters").addEventListener("change", (event) => event.currentTarget.requestSubmit());
const counting = setInterval(() => {
  if (!document.hidden) {
    refresh();
    if (wall.running) {
      refreshList();
    }
  }
}, COUNTS_MS);
wall.sync(JSON.parse(find("#in-progress").textContent));
// Those who may not read devices have no numbers of them, and may not listen either.
client.subscribe(find("[data-count]") ? ["surgeries.*", "devices.*", "alerts.*"] : ["surgeries.*"]);
client.connect();
