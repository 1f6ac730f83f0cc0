/** The list of devices: status, last values and last sign of life, as they change. */

import { readJson } from "./api.js";
import { guarded, listen, showCounts, showState } from "./hall.js";
import { figure, fill, find, fromTemplate, localiseTimes, showTime, throttled } from "./page.js";

const METRICS_SHOWN = 4;
const REFRESH_MS = 1000;

const { devicesUrl, deviceUrl } = find("main").dataset;
const rows = new Map();
/** What was heard while a list was being read, which may be older: `deviceId` → its telemetry. */
const underWay = new Set();

function rowOf(id) {
  if (!rows.has(id)) {
    const row = find(`#devices [data-device="${id}"]`);
    if (row) {
      rows.set(id, row);
    }
  }
  return rows.get(id);
}

function showReadings(row, readings) {
  const list = find("[data-readings]", row);
  for (const [metric, { value, unit }] of readings) {
    let item = find(`[data-metric="${CSS.escape(metric)}"]`, list);
    if (!item) {
      if (list.childElementCount >= METRICS_SHOWN) {
        continue;
      }
      item = document.createElement("li");
      item.dataset.metric = metric;
      const name = document.createElement("span");
      name.className = "muted small";
      name.textContent = metric;
      item.append(name, " ", document.createElement("span"));
      list.append(item);
    }
    item.lastElementChild.textContent = `${figure(value)} ${unit ?? ""}`.trim();
  }
}

function showSeen(row, iso) {
  showTime(find("time", row), iso);
}

function showTelemetry(deviceId, telemetry) {
  const row = rowOf(deviceId);
  if (row) {
    showReadings(row, Object.entries(telemetry));
    showSeen(row, new Date().toISOString());
  }
}

function showList({ items, statuses }) {
  rows.clear();
  find("#devices tbody").replaceChildren(...items.map(rowFor));
  find("#devices").hidden = items.length === 0;
  find("#no-devices").hidden = items.length > 0;
  showCounts("status", statuses);
}

function rowFor(item) {
  const row = fromTemplate("device");
  row.dataset.device = item.id;
  fill(row, { name: item.name, type: item.type, location: item.location || "–" });
  find("a", row).href = deviceUrl.replace("/0/", `/${item.id}/`);
  const status = find(".status", row);
  showState(status, item.status);
  status.title = item.reason;
  showReadings(row, item.readings.map((reading) => [reading.metric, reading]));
  showSeen(row, item.lastSeen);
  rows.set(item.id, row);
  return row;
}

const refresh = () => guarded(client, async () => {
  const heard = new Map();
  underWay.add(heard);
  try {
    showList(await readJson(`${devicesUrl}${location.search}`));
  } finally {
    underWay.delete(heard);
  }
  heard.forEach((telemetry, deviceId) => showTelemetry(deviceId, telemetry));
});
const changed = throttled(refresh, REFRESH_MS);

localiseTimes();
find("#status").addEventListener("change", (event) => event.currentTarget.form.requestSubmit());
const client = listen(["telemetry.*", "devices.*"], {
  TELEMETRY_RECEIVED: ({ deviceId, telemetry }) => {
    underWay.forEach((heard) => heard.set(deviceId, { ...heard.get(deviceId), ...telemetry }));
    showTelemetry(deviceId, telemetry);
  },
  DEVICE_STATUS_CHANGED: ({ deviceId, newStatus, reason }) => {
    const row = rowOf(deviceId);
    if (row) {
      const status = find(".status", row);
      showState(status, newStatus);
      status.title = reason;
    }
    changed();
  },
}, refresh);
