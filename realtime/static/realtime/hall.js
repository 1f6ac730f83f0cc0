/** What the pages about devices share: statuses, numbers, and the connection they listen on. */

import { SignedOut, Tokens } from "./api.js";
import { RealtimeClient } from "./client.js";
import { count, find, showLink } from "./page.js";

export const capitalised = (word) => word.charAt(0).toUpperCase() + word.slice(1);

/** The status of a device or an alert. */
export function showState(element, status) {
  element.dataset.status = status;
  element.textContent = capitalised(status);
}

/**
 * Write `{word: number}` into the tiles of a kind, "status" or "severity", that the page has.
 * What did not change is not read out again.
 */
export function showCounts(kind, numbers = {}) {
  for (const [word, number] of Object.entries(numbers)) {
    const shown = find(`[data-count="${kind}-${word}"] dd`);
    if (shown && shown.textContent !== count(number)) {
      shown.textContent = count(number);
    }
  }
}

/**
 * Listen to topics: `handlers` by event name, `onReady()` after every (re)connect.
 * Answers the client; its state is shown on the page.
 */
export function listen(topics, handlers, onReady) {
  const tokens = new Tokens(find("main").dataset.tokenUrl);
  const client = new RealtimeClient({
    url: "/ws/pubsub", token: () => tokens.renewed(), recovers: false,
  });
  client.on("Broadcast", ({ payload }) => handlers[payload.event]?.(payload));
  client.onState(showLink);
  client.onReady(onReady);
  client.subscribe(topics);
  client.connect();
  return client;
}

/** Run `read()`; someone whose session has ended is told, and nothing is asked any more. */
export async function guarded(client, read) {
  try {
    await read();
  } catch (error) {
    if (error instanceof SignedOut) {
      client.close();
      showLink({ state: "stopped", text: "Signed out: sign in again" });
    }
  }
}
