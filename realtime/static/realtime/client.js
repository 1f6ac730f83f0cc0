/**
 * The publish/subscribe protocol: connect, subscribe, publish, and miss nothing over a reconnect.
 * For browsers and Node (20 or newer; below 22 with a `WebSocket` passed in). No dependencies.
 *
 *     const client = new RealtimeClient({ url: "wss://…/ws", token: () => newToken() });
 *     client.on("Broadcast", ({ topic, payload }) => …);
 *     client.onGap(({ reason }) => what was missed for good);
 *     client.subscribe(["chat.*"]);
 *     client.connect();
 *     const { recipients } = await client.publish("chat.general", { text: "Hello" });
 */

import { systemClock } from "./clock.js";
import { RealtimeError, Stopped } from "./errors.js";
import { bytesOf, decodeFrame, encodeFrame } from "./frames.js";
import { Link } from "./link.js";
import { Outbox } from "./outbox.js";
import { Pace } from "./pace.js";
import { Progress } from "./progress.js";
import { Sender, sizeOf } from "./sender.js";
import { Subscriptions } from "./subscriptions.js";

export { Backoff } from "./backoff.js";
export { MessageBatcher } from "./batcher.js";
export { ConnectionDebugger } from "./debugger.js";
export * from "./errors.js";
export { bytesOf, decodeFrame, encodeFrame } from "./frames.js";
export { ConnectionMonitor } from "./monitor.js";
export { ConnectionPool } from "./pool.js";

const MESSAGE_BYTES = 65_536;
const MESSAGES_PER_SECOND = 100;
const QUEUE_MAX = 1_000;
const RETRY_TOKEN_MS = 5_000;

/** When the server says "too fast" without saying when it will not be. */
const PAUSE_MS = 1_000;

// Not types of messages, which are text: nothing that comes can be taken for them.
const STATE = Symbol("state");
const READY = Symbol("ready");
const GAP = Symbol("gap");
const TRAFFIC = Symbol("traffic");

export class RealtimeClient {
  /**
   * `token()` answers a token, or `{token}`, or a promise of one; it is asked before every
   * connection and when a token runs out. An error it throws that has `isFinal` ends it.
   *
   * `clientId` names this client over its connections, so that nothing is published twice. With
   * `position` it goes on where an earlier one stopped. With `recovers` off nothing is made good
   * after a reconnect: for pages that read everything anew `onReady`. `binary` asks for binary
   * messages as binary frames, which carry no id to tell repeated ones by. `presence` is metadata
   * for everyone who watches this user. `onFault(error)` is told what a handler throws.
   */
  constructor({
    url, token, clientId = randomId(), position = null, recovers = true, binary = false,
    presence, queueMax: most = QUEUE_MAX, messageBytes = MESSAGE_BYTES,
    messagesPerSecond: perSecond = MESSAGES_PER_SECOND, backoff, clock = systemClock,
    WebSocket = globalThis.WebSocket, onFault = throwLater,
  }) {
    Object.assign(this, { url, token, clientId, clock, onFault });
    this.presence = { status: "online", metadata: presence };
    this.handlers = new Map();
    this.prefix = randomId();
    this.count = 0;
    this.connectionId = null;
    this.own = null;
    this.progress = new Progress({ position });
    this.link = new Link({
      address: () => this.#address(),
      token: () => this.#newToken(),
      WebSocket, clock, backoff,
      onData: (data) => this.#onData(data),
      onLost: () => this.#onLost(),
      onState: (state, text) => this.#onState(state, text),
      onPing: () => this.#now("Ping", { timestamp: Date.now() }),
    });
    this.sender = new Sender({
      link: this.link,
      write: (type, payload) => this.#write(type, payload),
      outbox: new Outbox({ most }),
      pace: new Pace({ perSecond, now: clock.now }),
      clock, messageBytes,
    });
    this.subscriptions = new Subscriptions({
      progress: this.progress, clock, recovers,
      newId: () => this.#newId(),
      subscribe: (data, id) => this.#now("Subscribe", { ...data, binary: binary || undefined }, id),
      onHeld: (held) => this.#onHeld(held),
      onGap: (gap) => this.#emit(GAP, gap),
    });
    this.retryNow = this.retryNow.bind(this);
  }

  /** Up to where everything was heard: give it to the client that goes on from there. */
  get position() {
    return this.progress.position;
  }

  get topics() {
    return this.subscriptions.wanted;
  }

  // --- Hearing ---------------------------------------------------------------------------

  /**
   * Call `handler(data, message)` for every message of this type, each once; answers a function
   * that ends it. Binary frames are of the type "Binary": `{type, address, content}`.
   */
  on(type, handler) {
    this.handlers.set(type, [...(this.handlers.get(type) ?? []), handler]);
    return () => this.handlers.set(type, this.handlers.get(type).filter((each) => each !== handler));
  }

  /** States: connecting, live, waiting (with the delay in the text), stopped: `{state, text}`. */
  onState(handler) {
    return this.on(STATE, handler);
  }

  /**
   * Called each time the subscriptions hold again, after every (re)connect. `{recovered}` is
   * null when there was nothing to recover from.
   */
  onReady(handler) {
    return this.on(READY, handler);
  }

  /** Called when something was missed for good: `{reason, topic?, from?, to?, skipped?}`. */
  onGap(handler) {
    return this.on(GAP, handler);
  }

  /** Called for every message both ways: `{direction, type, size}`, without its content. */
  onTraffic(handler) {
    return this.on(TRAFFIC, handler);
  }

  /** The promise of `{topics, refused}`. They hold over reconnects until `unsubscribe`. */
  subscribe(topics) {
    return this.subscriptions.add(topics);
  }

  unsubscribe(topics) {
    this.subscriptions.remove(topics);
    this.#now("Unsubscribe", { topics }, this.#newId());
  }

  /** What was said on a topic between two positions: the promise of `{messages, complete}`. */
  history(topic, { before, after, limit, timeoutMs } = {}) {
    return this.request("History", { topic, before, after, limit }, { timeoutMs, answer: "History" });
  }

  // --- Saying ----------------------------------------------------------------------------

  /**
   * Publish, delivered once whatever happens to connections; the promise of the Ack's data.
   * Options: `metadata` (priority, ttl in seconds, and what else shall travel with it) and
   * `timeoutMs`, after which nobody waits any more.
   */
  publish(topic, payload, options) {
    return this.request("Broadcast", { topic, payload }, options);
  }

  /** Tell one user, by name or id. Rejected with `isQueued` when it is kept for the absent. */
  sendDirect(user, payload, options) {
    return this.request("DirectMessage", { target_user: user, payload }, options);
  }

  /** Be online, away or offline, as far as this client goes; kept over reconnects. */
  setPresence(status, metadata = this.presence.metadata) {
    this.presence = { status, metadata };
    this.#now("Presence", this.presence, this.#newId());
  }

  /**
   * Send bytes of the type broadcast, direct_message, file_transfer or stream_data to a topic,
   * user, file name or stream name. The promise of `{size, type, checksum}`; rejected with
   * ConnectionLost when the connection went before the answer: sending again might deliver twice.
   */
  sendBinary(type, address, content, { timeoutMs } = {}) {
    const payload = encodeFrame(type, address, content);
    return this.sender.keep({ key: this.#newId(), type: "Binary", kind: type, payload, timeoutMs });
  }

  /** Send any message that is answered by its id, again after a reconnect until it is. */
  request(type, data, { metadata, timeoutMs, batch, answer = "Ack" } = {}) {
    const key = this.#newId();
    const payload = JSON.stringify({ type, data, id: key, metadata });
    return this.sender.keep({ key, type, payload, answer, batch, timeoutMs, data, repeats: true });
  }

  /** Ask a handler of the server's for a type of its own, `X-…`: the promise of its answer. */
  ask(type, data = {}, options = {}) {
    return this.request(type, data, { ...options, answer: type });
  }

  /** Send a message that is not answered; answers false when there is no room for it. */
  send(type, data, { metadata } = {}) {
    return this.sender.post({ key: this.#newId(), type, payload: JSON.stringify({ type, data, metadata }) });
  }

  // --- Being connected --------------------------------------------------------------------

  connect() {
    if (!this.link.WebSocket) {
      throw new RealtimeError("this runtime has no WebSocket: pass one as `WebSocket`");
    }
    globalThis.addEventListener?.("online", this.retryNow);
    this.link.open();
  }

  /** Leave the current connection for a new one with a new token. */
  reconnect() {
    this.link.reopen();
  }

  /** Leave for good; what was not answered is rejected. */
  close() {
    this.link.close();
  }

  retryNow() {
    this.link.retryNow();
  }

  #address() {
    const url = new URL(this.url, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("client_id", this.clientId);
    if (this.presence.metadata) {
      url.searchParams.set("metadata", JSON.stringify(this.presence.metadata));
    }
    return url.href;
  }

  async #newToken() {
    const answer = await (typeof this.token === "function" ? this.token() : this.token);
    const token = answer.token ?? answer;
    this.own = privateTopicOf(token);
    return token;
  }

  #newId() {
    this.count += 1;
    return `${this.prefix}-${this.count}`;
  }

  /** Send what the connection itself needs, if there is one. */
  #now(type, data, id) {
    return this.connectionId !== null && this.sender.now(type, data, id);
  }

  #write(type, payload) {
    const left = this.link.send(payload);
    if (left && this.handlers.has(TRAFFIC)) {
      this.#emit(TRAFFIC, { direction: "sent", type, size: sizeOf(payload) });
    }
    return left;
  }

  #onState(state, text) {
    if (state === "stopped") {
      globalThis.removeEventListener?.("online", this.retryNow);
      this.sender.outbox.rejectAll(new Stopped(text));
      this.subscriptions.rejectAll(text);
    }
    this.#emit(STATE, { state, text });
  }

  #onLost() {
    this.connectionId = null;
    this.subscriptions.onLost();
    this.sender.stop();
  }

  // --- What comes --------------------------------------------------------------------------

  #onData(data) {
    const isText = typeof data === "string";
    const message = isText ? JSON.parse(data) : { type: "Binary", data: decodeFrame(data) };
    if (this.handlers.has(TRAFFIC)) {
      this.#emit(TRAFFIC, { direction: "received", type: message.type, size: sizeOf(data) });
    }
    if (isText) {
      this.#answer(message);
    }
    if (!message.data.metadata?.position || this.progress.take(message.data.metadata)) {
      this.#emit(message.type, message.data, message);
    }
  }

  #emit(type, ...values) {
    for (const handler of this.handlers.get(type) ?? []) {
      try {
        handler(...values);
      } catch (error) {
        this.onFault(error);
      }
    }
  }

  #answer({ type, data, id }) {
    switch (type) {
      case "Status": return this.#onStatus(data);
      case "Ack": return this.#onAck(data);
      case "Error": return this.#onError(data);
      case "History": return this.#onHistory(data, id ?? data.message_id);
      case "AuthStatus": return data.status === "token_expiring" && this.#renew();
      case "Gap": return this.#emit(GAP, data);
      case "Ping": return this.#now("Pong", data);
      case "Pong": return this.link.ponged();
      default: return id && this.sender.onAnswer(({ key, answer }) => key === id && answer === type, data);
    }
  }

  #onStatus({ status, details }) {
    if (status === "connected") {
      this.#onGreeted(details);
    } else if (status === "subscribed") {
      this.subscriptions.onConfirmed(details);
    } else if (status === "unsubscribed" && details.reason) {
      this.subscriptions.remove(details.topics);
    } else if (status === "binary_received") {
      this.sender.onAnswer(({ kind }) => kind === details.type, details);
    }
  }

  #onAck(data) {
    if (!this.subscriptions.onAck(data.message_id)) {
      this.sender.onAnswer(({ key, answer }) => key === data.message_id && answer === "Ack", data);
    }
  }

  #onHistory(data, id) {
    const isIts = (entry) => (id ? entry.key === id : entry.data.topic === data.topic);
    this.sender.onAnswer((entry) => entry.answer === "History" && isIts(entry), data);
  }

  #onError(data) {
    const { message_id: id, retry_after_ms: wait, limit } = data.details ?? {};
    if (this.connectionId === null) {
      this.link.waitAtLeast(wait ?? 0);
    } else if (id !== undefined) {
      this.subscriptions.onError(id, data) || this.sender.onRefused(id, data);
    } else if (data.code === 429) {
      this.sender.onTooFast(wait ?? PAUSE_MS, limit);
      this.subscriptions.onTooFast(wait ?? PAUSE_MS);
    } else {
      this.sender.onRefusedUnnamed(data);
    }
  }

  #onGreeted({ connection_id: connectionId, limits }) {
    this.connectionId = connectionId;
    this.link.greeted();
    this.sender.tellLimits(limits ?? {});
    this.sender.pace.refresh();
    if (this.presence.status !== "online") {
      this.#now("Presence", this.presence, this.#newId());
    }
    this.subscriptions.open(this.own);
  }

  /** Every subscription holds again. */
  #onHeld(held) {
    this.link.settled();
    this.#emit(STATE, { state: "live", text: "Live" });
    this.#emit(READY, held);
    this.sender.start();
  }

  /** Give the connection a new token, before the old one ends it. */
  async #renew() {
    const { connectionId } = this;
    try {
      const token = await this.#newToken();
      if (connectionId === this.connectionId) {
        this.#now("Auth", { token }, this.#newId());
      }
    } catch (error) {
      // Without one the server ends the connection, and the next attempt says why it cannot be.
      if (!error?.isFinal) {
        this.clock.after(RETRY_TOKEN_MS, () => connectionId === this.connectionId && this.#renew());
      }
    }
  }
}

/** The topic of this token's own user, which nobody else hears; null for what names none. */
function privateTopicOf(token) {
  try {
    const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { userId, sub } = JSON.parse(new TextDecoder().decode(bytesOf({ base64 })));
    return `users.${userId ?? sub}`;
  } catch {
    return null;
  }
}

/** An application's fault shall be seen, and break nothing of ours. */
function throwLater(error) {
  queueMicrotask(() => { throw error; });
}

/** 128 bits as text. `crypto.randomUUID` is missing on pages that came over plain HTTP. */
function randomId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
