/** A table of alerts: new ones appear by themselves, and are acknowledged and resolved in it. */

import { postJson, readJson } from "./api.js";
import { capitalised, showCounts, showState } from "./hall.js";
import { fill, find, fromTemplate, showTime } from "./page.js";

export class AlertList {
  /** `query` says which alerts; `deviceUrl` is the page of device 0, where devices are named. */
  constructor({ url, query, deviceUrl }) {
    this.url = url;
    this.query = query;
    this.deviceUrl = deviceUrl;
    find("#alerts").addEventListener("click", ({ target }) => {
      const button = target.closest("[data-action]");
      if (button) {
        this.#act(button);
      }
    });
  }

  /** Show the list as it is now. Throws SignedOut. */
  async refresh() {
    const { items, severities } = await readJson(`${this.url}${this.query}`);
    const focused = document.activeElement?.closest("[data-alert]")?.dataset.alert;
    find("#alerts tbody").replaceChildren(...items.map((alert) => this.#rowFor(alert)));
    find("#alerts").hidden = items.length === 0;
    find("#no-alerts").hidden = items.length > 0;
    showCounts("severity", severities);
    if (focused) {
      find(`[data-alert="${focused}"] button:not([hidden])`)?.focus();
    }
  }

  #rowFor(alert) {
    const row = fromTemplate("alert");
    row.dataset.alert = alert.id;
    fill(row, { title: alert.title, message: alert.message, by: alert.by });
    const severity = find(".severity", row);
    severity.dataset.severity = alert.severity;
    severity.textContent = capitalised(alert.severity);
    const device = find("[data-device]", row);
    if (device) {
      device.textContent = alert.device ?? "";
      if (alert.deviceId !== null) {
        device.href = this.deviceUrl.replace("/0/", `/${alert.deviceId}/`);
      }
    }
    showTime(find("time", row), alert.createdAt);
    showState(find(".status", row), alert.status);
    for (const button of row.querySelectorAll("[data-action]")) {
      button.hidden = alert.status === "resolved"
        || (button.dataset.action === "acknowledge" && alert.status !== "active");
    }
    return row;
  }

  async #act(button) {
    const { alert } = button.closest("[data-alert]").dataset;
    const problem = find("#problem");
    button.disabled = true;
    problem.hidden = true;
    try {
      await postJson(`${this.url}/${alert}/${button.dataset.action}`);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
    button.disabled = false;
    // What was done comes back as an event; what failed may have been done by somebody else.
    this.refresh().catch(() => {});
  }
}
