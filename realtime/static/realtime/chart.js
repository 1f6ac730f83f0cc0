/** Values over the last hour, drawn by plotly: the newest at the right, in the browser's own time. */

import { instant } from "./page.js";

const POINTS_MAX = 3600;
const KEPT_MS = 3_600_000;

/** The least that a chart shows, so that its first values do not stand minutes apart. */
const SHOWN_MS = 60_000;

/** A device whose clock is ahead is drawn at its arrival: the future would push out the rest. */
const AHEAD_MS = 300_000;
const DRAW_MS = 250;

/** So few points are dots on their line, which otherwise claims to know what was between them. */
const DOTS_MAX = 60;

/** A pause so many times longer than usual is left open: nobody knows what was in it. */
const PAUSE_TIMES = 10;
const SAMPLES = 60;
const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Milliseconds as plotly takes them: it draws everything as UTC. */
const shifted = (time) => time - new Date(time).getTimezoneOffset() * 60_000;

export class LineChart {
  /** `fromZero`: the axis begins at zero, and never ends below 1. */
  constructor(element, { fromZero = false } = {}) {
    this.element = element;
    this.fromZero = fromZero;
    this.times = [];
    this.values = [];
    this.timer = null;
    if (window.Plotly) {
      window.Plotly.newPlot(element, [this.#trace()], this.#layout(), CONFIG);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    }
  }

  /** Show the past: ISO times and their values. What is there already stays. */
  fill(times, values) {
    times.forEach((time, index) => this.#put(time, values[index]));
    this.#drawSoon();
  }

  append(time, value) {
    this.#put(time, value);
    this.#drawSoon();
  }

  /** Values may come late and twice: each has its place, and one place has one value. */
  #put(iso, value) {
    const now = Date.now();
    const measured = instant(iso);
    const time = shifted(measured > now + AHEAD_MS ? now : measured);
    let at = this.times.length;
    while (at > 0 && this.times[at - 1] > time) {
      at -= 1;
    }
    const isThere = this.times[at - 1] === time;
    this.times.splice(isThere ? at - 1 : at, isThere ? 1 : 0, time);
    this.values.splice(isThere ? at - 1 : at, isThere ? 1 : 0, value);
    while (this.times.length > POINTS_MAX || this.times[0] < this.times.at(-1) - KEPT_MS) {
      this.times.shift();
      this.values.shift();
    }
  }

  #drawSoon() {
    if (this.timer === null && window.Plotly) {
      this.timer = setTimeout(() => {
        this.timer = null;
        this.#draw();
      }, DRAW_MS);
    }
  }

  #draw() {
    window.Plotly.react(this.element, [this.#trace()], this.#layout(), CONFIG);
  }

  /** What is between most neighbours, from a sample of them: ms. */
  #usual() {
    const step = Math.ceil(this.times.length / SAMPLES);
    const between = [];
    for (let at = 1; at < this.times.length; at += step) {
      between.push(this.times[at] - this.times[at - 1]);
    }
    return between.sort((a, b) => a - b)[Math.floor(between.length / 2)] ?? 0;
  }

  /** The points, with a hole in each long pause. New lists: plotly notices changes by identity. */
  #points() {
    const longest = this.#usual() * PAUSE_TIMES;
    const x = [];
    const y = [];
    this.times.forEach((time, at) => {
      if (at > 0 && time - this.times[at - 1] > longest) {
        x.push(time);
        y.push(null);
      }
      x.push(time);
      y.push(this.values[at]);
    });
    return { x, y };
  }

  #trace() {
    return {
      ...this.#points(), type: "scatter", cliponaxis: false,
      mode: this.times.length > DOTS_MAX ? "lines" : "lines+markers",
      line: { color: colour("--path"), width: 1.75 }, marker: { size: 4 },
      hovertemplate: "%{y}<br>%{x|%H:%M:%S}<extra></extra>",
    };
  }

  #layout() {
    const axis = {
      gridcolor: colour("--grid"), zeroline: false, color: colour("--muted"), tickfont: { size: 11 },
      fixedrange: true,
    };
    const now = shifted(Date.now());
    const last = Math.max(this.times.at(-1) ?? now, now);
    const first = Math.min(this.times[0] ?? last, last - SHOWN_MS);
    const isShort = last - first < 4 * SHOWN_MS;
    return {
      margin: { l: 48, r: 14, t: 10, b: 26 },
      paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      xaxis: {
        ...axis, type: "date", nticks: 5, range: [first, last], ticklabelstandoff: 4,
        tickformat: isShort ? "%H:%M:%S" : "%H:%M",
      },
      yaxis: { ...axis, nticks: 5, ...this.#span() },
      showlegend: false,
    };
  }

  #span() {
    if (!this.fromZero) {
      return {};
    }
    const highest = this.values.reduce((most, value) => Math.max(most, value), 0);
    return { range: [0, Math.max(1, highest * 1.1)] };
  }
}
