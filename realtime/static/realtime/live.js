/** Operations in progress as small multiples in 3D, each fed by the live messages. */

import { colourOf } from "./events.js";
import { count, duration, fill, find, fromTemplate, instant, showStatus } from "./page.js";
import { Scene } from "./scene.js";
import { Track } from "./track.js";

/** Browsers allow about sixteen 3D views on a page; more operations are counted, not drawn. */
export const VIEWS_MAX = 12;

const TICK_MS = 100;

/** Of each tick, the most that drawing may take: the page stays usable on a slow machine. */
const BUDGET_MS = 60;
const REFILL_PAUSE_MS = 700;
const ENDED_STAYS_MS = 15_000;

export class LiveWall {
  /** `readTrajectory(id)` answers a stored trajectory; `onChange()` runs when the number changes. */
  constructor({ wall, readTrajectory, onChange }) {
    this.wall = wall;
    this.readTrajectory = readTrajectory;
    this.onChange = onChange;
    this.views = new Map();
    this.unseen = new Set();
    setInterval(() => this.#tick(), TICK_MS);
  }

  get running() {
    return [...this.views.values()].filter((view) => !view.ended).length + this.unseen.size;
  }

  /** Make the wall show exactly these operations: the answer to "what is in progress?". */
  sync(operations) {
    const current = new Set(operations.map(({ surgeryId }) => surgeryId));
    for (const id of [...this.views.keys(), ...this.unseen]) {
      if (!current.has(id)) {
        this.ended(id, null);
      }
    }
    operations.forEach((operation) => this.started(operation));
    this.views.forEach((view) => !view.ended && this.#refill(view));
  }

  started({ surgeryId, surgeon, startTime }) {
    const known = this.views.get(surgeryId);
    if (known && !known.ended) {
      return;
    }
    if (known) {
      this.#remove(known);
    }
    this.#makeRoom();
    if (this.views.size >= VIEWS_MAX) {
      this.unseen.add(surgeryId);
    } else {
      this.#add({ surgeryId, surgeon, startTime });
    }
    this.onChange();
  }

  /** Answers false for an operation nobody told us of: ask the server. */
  moved({ surgeryId, offset, movements }) {
    const view = this.views.get(surgeryId);
    if (!view) {
      return this.unseen.has(surgeryId);
    }
    view.pending.push(...view.track.take(offset, movements));
    if (view.track.hasHole) {
      this.#refill(view);
    }
    return true;
  }

  ended(surgeryId, status) {
    this.unseen.delete(surgeryId);
    const view = this.views.get(surgeryId);
    if (view && !view.ended) {
      view.ended = true;
      if (status) {
        showStatus(find("[data-status]", view.element), status);
        view.element.classList.add("ended");
        setTimeout(() => this.#remove(view), ENDED_STAYS_MS);
      } else {
        this.#remove(view);
      }
    }
    this.onChange();
  }

  #add({ surgeryId, surgeon, startTime }) {
    const element = this.#elementFor(surgeryId);
    const link = find("a", element);
    link.href = link.dataset.href.replace("00000000-0000-0000-0000-000000000000", surgeryId);
    fill(element, { surgeon });
    showStatus(find("[data-status]", element), "in_progress");
    const view = {
      id: surgeryId, element, scene: new Scene(find(".plot", element), { compact: true }),
      track: new Track(), pending: [], startedAt: instant(startTime),
      drawnAt: 0, isRefilling: false, ended: false,
    };
    this.views.set(surgeryId, view);
    this.#refill(view);
  }

  /** The server drew what was in progress when the page was asked for; those are taken over. */
  #elementFor(surgeryId) {
    const drawn = find(`[data-surgery="${surgeryId}"]`, this.wall);
    if (drawn) {
      return drawn;
    }
    const element = fromTemplate("view");
    element.dataset.surgery = surgeryId;
    this.wall.append(element);
    return element;
  }

  #remove(view) {
    if (this.views.get(view.id) === view) {
      this.views.delete(view.id);
    }
    view.scene.discard();
    view.element.remove();
    this.onChange();
  }

  #makeRoom() {
    if (this.views.size >= VIEWS_MAX) {
      const finished = [...this.views.values()].find((view) => view.ended);
      if (finished) {
        this.#remove(finished);
      }
    }
  }

  async #refill(view) {
    if (view.isRefilling) {
      return;
    }
    view.isRefilling = true;
    try {
      const { movements } = await this.readTrajectory(view.id);
      view.pending.push(...view.track.refill(movements));
    } catch {
      // The next live chunk or the next reconnect asks again.
    } finally {
      // What is live may be ahead of what is stored for a moment.
      setTimeout(() => {
        view.isRefilling = false;
        if (view.track.hasHole && !view.ended) {
          this.#refill(view);
        }
      }, REFILL_PAUSE_MS);
    }
  }

  #tick() {
    if (document.hidden) {
      return;
    }
    const began = performance.now();
    const waiting = [...this.views.values()].sort((a, b) => a.drawnAt - b.drawnAt);
    for (const view of waiting) {
      if (!view.ended) {
        fill(view.element, { clock: duration((Date.now() - view.startedAt) / 1000) });
      }
      if (view.pending.length && performance.now() - began < BUDGET_MS) {
        this.#draw(view);
      }
    }
  }

  #draw(view) {
    const movements = view.pending.splice(0);
    view.scene.append(movements);
    view.drawnAt = performance.now();
    const last = view.track.movements.at(-1);
    fill(view.element, {
      movements: count(view.track.length),
      tip: last.coordinates.map((value) => value.toFixed(1)).join("  "),
    });
    const notable = movements.findLast(({ event }) => event !== "NONE");
    if (notable) {
      find("[data-field=tip]", view.element).style.color = colourOf(notable.event);
    }
  }
}
