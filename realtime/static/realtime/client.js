/**
 * The publish/subscribe protocol in the browser: connect, subscribe, hear, stay connected.
 *
 *     const client = new RealtimeClient({ url: "/ws/pubsub", token: () => tokens.renewed() });
 *     client.on("Broadcast", ({ topic, payload }) => …);
 *     client.onState(({ state, text }) => …);
 *     client.onReady(() => refetch what may have been missed);
 *     client.subscribe(["surgeries.*"]);
 *     client.connect();
 */

import { SignedOut, socketUrl } from "./api.js";
import { Backoff } from "./backoff.js";

const PING_MS = 30_000;
const PONG_MS = 10_000;
const POLICY_VIOLATION = 1008;

/** The server ends a connection with its token; after this share of its life we take a new one. */
const RENEW_AT = 0.8;

/** Refusals in a row after which a fresh token is no longer expected to help. */
const REFUSALS = 2;

export class RealtimeClient {
  /** `token()` answers a promise of `{token, lifetimeMs}`; it is asked before every connection. */
  constructor({ url, token, backoff = new Backoff() }) {
    this.url = url;
    this.token = token;
    this.backoff = backoff;
    this.topics = new Set();
    this.handlers = new Map();
    this.stateHandlers = [];
    this.readyHandlers = [];
    this.socket = null;
    this.wanted = false;
    this.refusals = 0;
    this.timers = {};
    window.addEventListener("online", () => this.retryNow());
    this.on("Status", (data) => this.#onStatus(data));
    this.on("AuthStatus", (data) => data.refresh_required && this.reconnect());
    this.on("Pong", () => clearTimeout(this.timers.pong));
  }

  /** Call `handler(data, message)` for every message of this type. */
  on(type, handler) {
    this.handlers.set(type, [...(this.handlers.get(type) ?? []), handler]);
  }

  /** States: connecting, live, waiting (with the delay in the text), stopped. */
  onState(handler) {
    this.stateHandlers.push(handler);
  }

  /** Called each time the subscriptions hold again, after every (re)connect. */
  onReady(handler) {
    this.readyHandlers.push(handler);
  }

  subscribe(topics) {
    topics.forEach((topic) => this.topics.add(topic));
    this.send("Subscribe", { topics });
  }

  unsubscribe(topics) {
    topics.forEach((topic) => this.topics.delete(topic));
    this.send("Unsubscribe", { topics });
  }

  /** Send a message when connected; answers whether it left. */
  send(type, data) {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      return false;
    }
    this.socket.send(JSON.stringify({ type, data }));
    return true;
  }

  connect() {
    this.wanted = true;
    this.#open();
  }

  /** Leave the current connection for a new one with a new token. */
  reconnect() {
    this.#drop();
    this.#open();
  }

  close() {
    this.wanted = false;
    this.#drop();
    this.#tell("stopped", "Disconnected");
  }

  retryNow() {
    if (this.wanted && !this.socket && this.timers.retry) {
      clearTimeout(this.timers.retry);
      this.#open();
    }
  }

  async #open() {
    this.#clearTimers();
    this.#tell("connecting", "Connecting…");
    let bought;
    try {
      bought = await this.token();
    } catch (error) {
      if (error instanceof SignedOut) {
        this.wanted = false;
        this.#tell("stopped", "Signed out: sign in again");
      } else {
        this.#retryLater();
      }
      return;
    }
    if (!this.wanted || this.socket) {
      return;
    }
    const socket = new WebSocket(socketUrl(this.url, { token: bought.token }));
    this.socket = socket;
    this.timers.renew = setTimeout(() => this.reconnect(), bought.lifetimeMs * RENEW_AT);
    socket.onmessage = ({ data }) => socket === this.socket && this.#onMessage(data);
    socket.onclose = (event) => socket === this.socket && this.#onClose(event);
  }

  #onMessage(text) {
    const message = JSON.parse(text);
    for (const handler of this.handlers.get(message.type) ?? []) {
      handler(message.data, message);
    }
  }

  #onStatus({ status }) {
    if (status === "connected") {
      this.timers.ping = setInterval(() => this.#ping(), PING_MS);
      this.send("Subscribe", { topics: [...this.topics] });
    } else if (status === "subscribed") {
      this.backoff.reset();
      this.refusals = 0;
      this.#tell("live", "Live");
      this.readyHandlers.forEach((handler) => handler());
    }
  }

  #ping() {
    this.send("Ping", { timestamp: Date.now() });
    this.timers.pong = setTimeout(() => this.reconnect(), PONG_MS);
  }

  #onClose({ code, reason }) {
    this.socket = null;
    this.#clearTimers();
    this.refusals = code === POLICY_VIOLATION ? this.refusals + 1 : 0;
    if (this.refusals >= REFUSALS) {
      this.wanted = false;
      this.#tell("stopped", reason || "The server refuses this connection");
    } else if (this.wanted) {
      this.#retryLater();
    }
  }

  #retryLater() {
    const delay = this.backoff.next();
    this.#tell("waiting", `Connection lost: trying again in ${Math.ceil(delay / 1000)} s`);
    this.timers.retry = setTimeout(() => this.#open(), delay);
  }

  #drop() {
    const { socket } = this;
    this.socket = null;
    this.#clearTimers();
    socket?.close(1000);
  }

  #clearTimers() {
    // One kind of handle: clearTimeout ends intervals too.
    Object.values(this.timers).forEach(clearTimeout);
    this.timers = {};
  }

  #tell(state, text) {
    this.stateHandlers.forEach((handler) => handler({ state, text }));
  }
}
