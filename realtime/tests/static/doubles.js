/** A server that a test speaks for, and time that a test tells. */

import { RealtimeClient } from "../../static/realtime/client.js";

/** A clock that moves only by `pass`, and does what is due then. */
export class Time {
  constructor() {
    this.at = 0;
    this.timers = new Map();
    this.count = 0;
  }

  now = () => this.at;

  after = (ms, work) => {
    this.count += 1;
    this.timers.set(this.count, { at: this.at + ms, work });
    return this.count;
  };

  cancel = (timer) => this.timers.delete(timer);

  async pass(ms) {
    const end = this.at + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at);
      if (!due.length) {
        break;
      }
      const [[timer, { at, work }]] = due;
      this.timers.delete(timer);
      this.at = Math.max(this.at, at);
      work();
      await turns();
    }
    this.at = end;
    await turns();
  }
}

/** Let everything happen that waits for nothing but its turn. */
export const turns = () => new Promise((resolve) => setImmediate(resolve));

/** The server's end of a connection. */
export class Wire {
  static opened = [];

  constructor(url, protocols) {
    Object.assign(this, { url: new URL(url), protocols, readyState: 1, bufferedAmount: 0, sent: [] });
    Wire.opened.push(this);
  }

  send(payload) {
    this.sent.push(typeof payload === "string" ? JSON.parse(payload) : payload);
  }

  close(code) {
    this.readyState = 3;
    this.closedWith = code;
  }

  // What the test does as the server.

  say(type, data = {}, more = {}) {
    this.onmessage({ data: JSON.stringify({ type, data, ...more }) });
  }

  greet(id = "c1") {
    this.say("Status", { status: "connected", details: { connection_id: id } });
  }

  /** Answer the oldest Subscribe that was not. */
  confirm(details = {}) {
    const asked = this.of("Subscribe").find(({ id }) => !this.confirmed?.has(id));
    (this.confirmed ??= new Set()).add(asked.id);
    const position = asked.data.recover?.position;
    this.say("Status", {
      status: "subscribed", details: { topics: asked.data.topics, position, ...details },
    });
    this.ack(asked.id, { status: "subscribed" });
  }

  ack(id, more = {}) {
    this.say("Ack", { message_id: id, status: "delivered", ...more });
  }

  refuse(code, details) {
    this.say("Error", { code, message: "no", details });
  }

  tell(topic, payload, metadata) {
    this.say("Broadcast", { topic, payload, metadata });
  }

  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  of(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

/** A client whose `heard` are its payloads, `states` its states and `gaps` its gaps. */
export function newClient(options = {}) {
  Wire.opened = [];
  const time = new Time();
  const client = new RealtimeClient({
    url: "ws://host/ws", token: () => `token${Wire.opened.length + 1}`, WebSocket: Wire, clock: time,
    backoff: { next: () => 100, reset: () => {} }, ...options,
  });
  Object.assign(client, { heard: [], states: [], gaps: [], time });
  client.on("Broadcast", ({ payload }) => client.heard.push(payload));
  client.onState(({ state }) => client.states.push(state));
  client.onGap((gap) => client.gaps.push(gap));
  return client;
}

/** Connect, be let in, and have every subscription confirmed; the server's end. */
export async function connected(client, details = { position: "e-0" }) {
  client.connect();
  return admitted(client, details);
}

export async function admitted(client, details) {
  await turns();
  const wire = Wire.opened.at(-1);
  wire.greet(`c${Wire.opened.length}`);
  for (const _ of wire.of("Subscribe")) {
    wire.confirm(details);
  }
  return wire;
}

/** Lose the connection and get the next one. */
export async function cut(client, details = { recovered: true }) {
  Wire.opened.at(-1).end();
  await client.time.pass(100);
  return admitted(client, details);
}
