/** One device: its metrics over the last hour, going on live, its status and alerts as they change. */

import { AlertList } from "./alertlist.js";
import { readJson } from "./api.js";
import { ChartWall } from "./charts.js";
import { guarded, listen, showState } from "./hall.js";
import { fill, find, fromTemplate, localiseTimes, showTime, throttled } from "./page.js";

const REFRESH_MS = 250;

const { deviceId, factsUrl, pastUrl, alertsUrl } = find("main").dataset;

function showFacts({ status, reason, lastSeen, changes }) {
  showState(find("[data-device-status]"), status);
  fill(document, { reason: reason || "–" });
  showTime(find("#last-seen time"), lastSeen);
  find("#no-history").hidden = changes.length > 0;
  find("#history").replaceChildren(...changes.map((change) => {
    const entry = fromTemplate("change");
    showState(find(".status", entry), change.status);
    showTime(find("time", entry), change.at);
    fill(entry, { why: change.reason });
    return entry;
  }));
}

localiseTimes();
const wall = new ChartWall(find("#charts"), {
  onFirst: () => { find("#no-values").hidden = true; },
});
const alerts = new AlertList({ url: alertsUrl, query: `?status=all&device=${deviceId}` });
const readFacts = () => guarded(client, async () => showFacts(await readJson(factsUrl)));
const readPast = () => guarded(client, async () => wall.fill(await readJson(pastUrl)));
const readAlerts = () => guarded(client, () => alerts.refresh());
const alertsChanged = throttled(readAlerts, REFRESH_MS);
const topics = [`telemetry.${deviceId}`, `devices.${deviceId}`, `alerts.${deviceId}`];
const client = listen(topics, {
  TELEMETRY_RECEIVED: ({ telemetry }) => {
    Object.entries(telemetry).forEach(([metric, reading]) => wall.append(metric, reading));
    showTime(find("#last-seen time"), new Date().toISOString());
  },
  DEVICE_STATUS_CHANGED: throttled(readFacts, REFRESH_MS),
  ALERT_RAISED: alertsChanged,
  ALERT_UPDATED: alertsChanged,
}, () => {
  readFacts();
  readPast();
  readAlerts();
});
