/**
 * The surgeon's end of `/ws/simulation`: frames out, SAVED in, nothing lost in between.
 *
 * The protocol acknowledges no frame. So the last frames are kept after they were sent, and
 * after a reconnect the stored trajectory tells from which one to go on: timestamps only
 * ever grow, and what is newer than the last stored one is sent again, in order.
 */

import { HttpError, SignedOut, socketUrl } from "./api.js";
import { Backoff } from "./backoff.js";

/** Frames kept at most, a few minutes of them; then plain movement is thinned, marked events never. */
const KEPT_MAX = 20_000;

/** Frames remembered after sending: more than every buffer on the way can hold. */
const REMEMBERED = 8192;

/** With this much unsent in the browser the server is slow: frames wait here instead. */
const UNSENT_BYTES = 64 * 1024;
const PUMP_MS = 250;

/** Nothing left the browser for this long although it should: the network is gone. */
const STUCK_MS = 12_000;

/** FINISH is repeated, identical, until SAVED arrives. */
const FINISH_AGAIN_MS = 8000;

/** The server ends a connection with its token; after this share of its life we take a new one. */
const RENEW_AT = 0.8;

const NORMAL = 1000;
const BAD_DATA = 1003;
const POLICY_VIOLATION = 1008;
const TOO_BIG = 1009;

export class Simulation {
  /** `onState({state, text})` as of RealtimeClient; `onSaved(surgeryId)` once. */
  constructor({ surgeryId, tokens, surgeries, onState, onSaved, isResumed = false }) {
    Object.assign(this, { surgeryId, tokens, surgeries, onState, onSaved });
    this.backoff = new Backoff();
    this.kept = [];
    this.sent = 0;
    this.latest = 0;
    this.made = 0;
    this.finish = null;
    this.socket = null;
    this.isReady = false;
    this.isOver = false;
    this.hasBeenOpen = isResumed;
    this.timers = {};
    this.onOnline = () => this.#retryNow();
    this.onOffline = () => this.#drop();
    window.addEventListener("online", this.onOnline);
    window.addEventListener("offline", this.onOffline);
    this.pumping = setInterval(() => this.#watch(), PUMP_MS);
  }

  /** Frames made but not handed to the network yet. */
  get backlog() {
    return this.kept.length - this.sent;
  }

  connect() {
    this.isOver = false;
    this.#open();
  }

  /** Send a frame as soon as possible, keeping the order. Ignored after `finishWith`. */
  send(coordinates, event) {
    if (!this.finish && !this.isOver) {
      this.#keep(coordinates, event);
      this.#pump();
    }
  }

  /** End the operation: repeats the last frame, unchanged, until SAVED. */
  finishWith(coordinates) {
    if (!this.finish) {
      this.finish = this.#keep(coordinates, "FINISH");
      this.#pump();
    }
  }

  /** Let go of the connection and of every timer. */
  close() {
    this.isOver = true;
    clearInterval(this.pumping);
    window.removeEventListener("online", this.onOnline);
    window.removeEventListener("offline", this.onOffline);
    this.#leave();
  }

  // --- Frames -----------------------------------------------------------------------

  #keep(coordinates, event) {
    this.made += 1;
    this.latest = Math.max(Date.now(), this.latest + 1);
    const frame = { coordinates, event, timestamp: this.latest };
    this.kept.push(frame);
    if (this.sent > 2 * REMEMBERED) {
      this.kept.splice(0, REMEMBERED);
      this.sent -= REMEMBERED;
    }
    if (this.kept.length > KEPT_MAX) {
      this.#thin();
    }
    return frame;
  }

  /** Halve what waits: every second plain movement goes, no marked event does. */
  #thin() {
    const waiting = this.kept.slice(this.sent);
    this.kept = waiting.filter(({ event }, index) => event !== "NONE" || index % 2 === 0);
    this.sent = 0;
  }

  #pump() {
    while (this.#mayTransmit && this.backlog && this.socket.bufferedAmount < UNSENT_BYTES) {
      this.#transmit(this.kept[this.sent]);
      this.sent += 1;
    }
  }

  /** A socket that is closing takes frames and drops them. */
  get #mayTransmit() {
    return this.isReady && this.socket.readyState === WebSocket.OPEN;
  }

  #transmit(frame) {
    this.socket.send(JSON.stringify(frame));
    if (frame === this.finish) {
      clearTimeout(this.timers.finish);
      this.timers.finish = setTimeout(() => this.#mayTransmit && this.#transmit(frame), FINISH_AGAIN_MS);
    }
  }

  #watch() {
    this.#pump();
    const unsent = this.socket?.bufferedAmount ?? 0;
    if (!this.isReady || unsent === 0 || unsent < this.lastUnsent) {
      this.movedAt = Date.now();
    } else if (Date.now() - this.movedAt > STUCK_MS) {
      this.#drop();
    }
    this.lastUnsent = unsent;
  }

  // --- Connection -------------------------------------------------------------------

  async #open() {
    this.#clearTimers();
    this.#tell("connecting", "Connecting…");
    try {
      const { token, lifetimeMs } = await this.tokens.renewed();
      if (this.isOver || this.socket) {
        return;
      }
      this.timers.renew = setTimeout(() => this.#renew(), lifetimeMs * RENEW_AT);
      this.#listen(new WebSocket(socketUrl("/ws/simulation", { token, surgery: this.surgeryId })));
    } catch (error) {
      if (error instanceof SignedOut) {
        this.#stop("Signed out: sign in again to go on");
      } else {
        this.#retryLater();
      }
    }
  }

  #listen(socket) {
    this.socket = socket;
    socket.onopen = () => socket === this.socket && this.#onOpen(socket);
    socket.onmessage = ({ data }) => socket === this.socket && this.#onMessage(data);
    socket.onclose = (event) => socket === this.socket && this.#onClose(event);
  }

  async #onOpen(socket) {
    try {
      if (this.hasBeenOpen) {
        await this.#reconcile();
      }
    } catch {
      if (socket === this.socket) {
        this.#drop();
      }
      return;
    }
    if (socket !== this.socket) {
      return;
    }
    this.hasBeenOpen = true;
    this.isReady = true;
    this.timers.settled = setTimeout(() => this.backoff.reset(), 2000);
    this.#tell("live", "Live");
    if (this.finish && !this.backlog && this.#mayTransmit) {
      this.#transmit(this.finish);
    }
    this.#pump();
  }

  /** Find the first kept frame that the server has not stored, and go on from there. */
  async #reconcile() {
    this.#tell("connecting", "Resuming the operation…");
    const stored = await this.#lastStored();
    const next = this.kept.findIndex(({ timestamp }) => timestamp > stored);
    this.sent = next < 0 ? this.kept.length : next;
  }

  async #lastStored() {
    try {
      const { movements } = await this.surgeries.trajectory(this.surgeryId);
      return movements.at(-1)?.timestamp ?? 0;
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) {
        return 0;
      }
      throw error;
    }
  }

  #onMessage(text) {
    const { status, surgeryId } = JSON.parse(text);
    if (status === "SAVED" && this.finish) {
      this.close();
      this.#tell("done", "Saved");
      this.onSaved(surgeryId);
    }
  }

  #onClose({ code, reason }) {
    const wasLive = this.isReady;
    this.socket = null;
    this.isReady = false;
    this.#clearTimers();
    if (code === BAD_DATA || code === TOO_BIG) {
      this.#stop(reason || "The server could not read a frame");
    } else if (code === POLICY_VIOLATION) {
      // The token was new when this connection began: a newer one will not be liked better.
      this.#stop(reason || (wasLive ? "Taken over elsewhere" : "Refused by the server"));
    } else if (!this.isOver) {
      this.#retryLater();
    }
  }

  #renew() {
    this.#leave();
    this.#open();
  }

  #retryLater() {
    const delay = this.backoff.next();
    this.#tell("waiting", `Connection lost: trying again in ${Math.ceil(delay / 1000)} s`);
    this.timers.retry = setTimeout(() => this.#open(), delay);
  }

  #retryNow() {
    if (!this.isOver && !this.socket && this.timers.retry) {
      this.#open();
    }
  }

  /** Give the connection up, without waiting for the other side, and try again later. */
  #drop() {
    if (this.socket) {
      this.#leave();
      this.#retryLater();
    }
  }

  #leave() {
    const { socket } = this;
    this.socket = null;
    this.isReady = false;
    this.#clearTimers();
    socket?.close(NORMAL);
  }

  #stop(text) {
    this.isOver = true;
    this.#tell("stopped", text);
  }

  #clearTimers() {
    Object.values(this.timers).forEach(clearTimeout);
    this.timers = {};
  }

  #tell(state, text) {
    this.onState({ state, text });
  }
}
