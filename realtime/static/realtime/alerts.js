/** The page of alerts: the list that the address asks for, and how many are open. */

import { AlertList } from "./alertlist.js";
import { guarded, listen } from "./hall.js";
import { find, localiseTimes, throttled } from "./page.js";

const REFRESH_MS = 250;

const { alertsUrl, deviceUrl } = find("main").dataset;

localiseTimes();
find("#filters").addEventListener("change", (event) => event.currentTarget.requestSubmit());
const list = new AlertList({ url: alertsUrl, query: location.search, deviceUrl });
const refresh = () => guarded(client, () => list.refresh());
const changed = throttled(refresh, REFRESH_MS);
const client = listen(["alerts.*"], { ALERT_RAISED: changed, ALERT_UPDATED: changed }, refresh);
