/** A WebSocket that comes back: a new token for every attempt, back-off, a ping every 30 s. */

import { Backoff } from "./backoff.js";

const PING_MS = 30_000;
const PONG_MS = 10_000;

/** Between opening the socket and the server's welcome. */
const WELCOME_MS = 15_000;
const POLICY_VIOLATION = 1008;

/** Refusals in a row after which a fresh token is no longer expected to help. */
const REFUSALS = 2;
const SUBPROTOCOL = "realtime.v1";
const OPEN = 1;

export class Link {
  /**
   * `address()` answers the URL, `token()` a token or a promise of one. Told are `onData(data)`,
   * `onLost()` after every connection, `onState(state, text)`, and `onPing()` when one is due.
   */
  constructor({ address, token, WebSocket, clock, backoff, onData, onLost, onState, onPing }) {
    this.address = address;
    this.token = token;
    this.WebSocket = WebSocket;
    this.clock = clock;
    this.backoff = backoff ?? new Backoff();
    Object.assign(this, { onData, onLost, onState, onPing });
    this.socket = null;
    this.wanted = false;
    this.attempt = 0;
    this.refusals = 0;
    this.leastMs = 0;
    this.timers = {};
  }

  get isOpen() {
    return this.socket?.readyState === OPEN;
  }

  /** Bytes that the peer has not taken yet. */
  get buffered() {
    return this.socket?.bufferedAmount ?? 0;
  }

  send(payload) {
    if (!this.isOpen) {
      return false;
    }
    this.socket.send(payload);
    return true;
  }

  open() {
    this.wanted = true;
    if (!this.socket) {
      this.#try();
    }
  }

  /** Leave the current connection for a new one with a new token. */
  reopen() {
    this.#drop();
    this.#try();
  }

  close(text = "Disconnected") {
    this.wanted = false;
    this.attempt += 1;
    this.#drop();
    this.onState("stopped", text);
  }

  /** Not wait any longer, when we wait to try again. */
  retryNow() {
    if (this.wanted && !this.socket && this.timers.retry !== undefined) {
      this.#try();
    }
  }

  /** Wait so long before the next attempt, whatever the back-off says. */
  waitAtLeast(ms) {
    this.leastMs = Math.max(this.leastMs, ms);
  }

  /** The server has let us in. */
  greeted() {
    this.#cancel("welcome");
    this.#beatLater();
  }

  /** Everything is as it was: this was a good connection, whatever becomes of it. */
  settled() {
    this.backoff.reset();
    this.refusals = 0;
  }

  ponged() {
    this.#cancel("pong");
  }

  async #try() {
    this.#cancelAll();
    this.attempt += 1;
    const { attempt } = this;
    this.onState("connecting", "Connecting…");
    let token;
    try {
      token = await this.token();
    } catch (error) {
      if (attempt === this.attempt) {
        this.#onNoToken(error);
      }
      return;
    }
    if (attempt === this.attempt && this.wanted) {
      this.#connect(token);
    }
  }

  #onNoToken(error) {
    if (error?.isFinal) {
      this.close(error.message);
    } else {
      this.#retryLater();
    }
  }

  #connect(token) {
    let socket;
    try {
      // As a subprotocol and not in the address, which proxies log.
      socket = new this.WebSocket(this.address(), [SUBPROTOCOL, `access_token.${token}`]);
    } catch (error) {
      this.close(`This address cannot be connected to: ${error.message}`);
      return;
    }
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.timers.welcome = this.clock.after(WELCOME_MS, () => this.reopen());
    socket.onmessage = ({ data }) => socket === this.socket && this.onData(data);
    socket.onclose = (event) => socket === this.socket && this.#onClose(event);
    // What failed is told by the close that follows; some implementations throw without this.
    socket.onerror = () => {};
  }

  #beatLater() {
    this.timers.ping = this.clock.after(PING_MS, () => {
      this.timers.pong ??= this.clock.after(PONG_MS, () => this.reopen());
      this.onPing();
      this.#beatLater();
    });
  }

  #onClose({ code, reason }) {
    this.socket = null;
    this.#cancelAll();
    this.onLost();
    this.refusals = code === POLICY_VIOLATION ? this.refusals + 1 : 0;
    if (this.refusals >= REFUSALS) {
      this.refusals = 0;
      this.close(reason || "The server refuses this connection");
    } else if (this.wanted) {
      this.#retryLater();
    }
  }

  #retryLater() {
    const delay = Math.max(this.backoff.next(), this.leastMs);
    this.leastMs = 0;
    this.onState("waiting", `Connection lost: trying again in ${Math.ceil(delay / 1000)} s`);
    this.timers.retry = this.clock.after(delay, () => this.#try());
  }

  #drop() {
    const { socket } = this;
    this.#cancelAll();
    if (socket) {
      this.socket = null;
      socket.close(1000);
      this.onLost();
    }
  }

  #cancel(name) {
    this.clock.cancel(this.timers[name]);
    delete this.timers[name];
  }

  #cancelAll() {
    Object.keys(this.timers).forEach((name) => this.#cancel(name));
  }
}
