/** A trajectory in 3D, drawn by plotly: the path, the instrument's tip, one mark per event. */

import { MARKED, colourOf, labelOf } from "./events.js";
import { thinned } from "./track.js";

/** More points than this are thinned: older parts of the path get coarser, never the newest. */
export const POINTS_MAX = 20_000;
const MARKS_MAX = 2000;

const AHEAD = 0;
const PATH = 1;
const TIP = 2;
const FIRST_MARK = 3;

const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false };

export class Scene {
  /** `compact`: no axis titles or numbers, for small multiples. */
  constructor(element, { compact = false } = {}) {
    this.element = element;
    this.compact = compact;
    this.points = [];
    this.marks = [];
    this.bounds = null;
    this.isMissing = !window.Plotly;
    if (this.isMissing) {
      element.append(missing());
      return;
    }
    window.Plotly.newPlot(element, this.#traces(), this.#layout(), CONFIG);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#recolour());
  }

  /** Add movements at the end. One redraw, however many there are. */
  append(movements) {
    if (this.isMissing || !movements.length) {
      return;
    }
    const marks = movements.filter(({ event }) => MARKED.includes(event));
    this.points.push(...movements);
    this.marks.push(...marks);
    if (this.points.length > POINTS_MAX) {
      this.points = thinned(this.points, POINTS_MAX / 2);
      this.marks = thinned(this.marks, MARKS_MAX);
      this.#redraw(PATH);
    } else {
      this.#extend(movements, marks);
    }
  }

  /** Show a whole trajectory, faint, with all its marks: `showUpTo` then draws over it. */
  showWhole(movements) {
    if (!this.isMissing) {
      this.points = thinned(movements, POINTS_MAX);
      this.marks = thinned(movements.filter(({ event }) => MARKED.includes(event)), MARKS_MAX);
      this.#redraw(AHEAD);
    }
  }

  /** Draw the path up to and including movement `index` of `total`. */
  showUpTo(index, total, tip) {
    if (this.isMissing) {
      return;
    }
    const drawn = Math.floor(((index + 1) / total) * this.points.length);
    const done = columnsOf([...this.points.slice(0, drawn), tip]);
    const end = columnsOf([tip]);
    window.Plotly.restyle(
      this.element,
      { x: [done.x, end.x], y: [done.y, end.y], z: [done.z, end.z] },
      [PATH, TIP],
    );
  }

  discard() {
    if (!this.isMissing) {
      window.Plotly.purge(this.element);
    }
  }

  #extend(movements, marks) {
    const traces = [PATH, TIP];
    const columns = [columnsOf(movements), columnsOf(movements.slice(-1))];
    MARKED.forEach((event, index) => {
      const some = marks.filter((mark) => mark.event === event);
      if (some.length) {
        traces.push(FIRST_MARK + index);
        columns.push(columnsOf(some));
      }
    });
    const most = traces.map((trace) => (trace === TIP ? 1 : POINTS_MAX));
    const update = {
      x: columns.map(({ x }) => x), y: columns.map(({ y }) => y), z: columns.map(({ z }) => z),
    };
    this.#fit(movements);
    window.Plotly.extendTraces(this.element, update, traces, { x: most, y: most, z: most });
  }

  /** Draw all points anew, into the trace `into`. */
  #redraw(into) {
    this.bounds = null;
    this.#fit(this.points, { silently: true });
    const traces = this.#traces();
    Object.assign(traces[into], columnsOf(this.points));
    Object.assign(traces[TIP], columnsOf(this.points.slice(-1)));
    MARKED.forEach((event, index) => {
      const some = this.marks.filter((mark) => mark.event === event);
      Object.assign(traces[FIRST_MARK + index], columnsOf(some));
    });
    window.Plotly.react(this.element, traces, this.#layout(), CONFIG);
  }

  #recolour() {
    const drawn = this.element.data;
    const traces = this.#traces().map((trace, index) => {
      const { x, y, z } = drawn[index];
      return { ...trace, x, y, z };
    });
    window.Plotly.react(this.element, traces, this.#layout(), CONFIG);
  }

  /** Keep one cube around everything, so that true proportions show and axes rarely move. */
  #fit(movements, { silently = false } = {}) {
    const seen = boundsOf(movements, this.seen);
    this.seen = seen;
    const fits = this.bounds && seen.every(
      ([low, high], axis) => low >= this.bounds[axis][0] && high <= this.bounds[axis][1],
    );
    if (fits) {
      return;
    }
    const span = Math.max(1, ...seen.map(([low, high]) => high - low)) * (silently ? 1.08 : 1.3);
    this.bounds = seen.map(([low, high]) => [(low + high - span) / 2, (low + high + span) / 2]);
    if (!silently) {
      const [x, y, z] = this.bounds;
      window.Plotly.relayout(this.element, {
        "scene.xaxis.range": x, "scene.yaxis.range": y, "scene.zaxis.range": z,
      });
    }
  }

  #traces() {
    const style = stylesOf();
    const line = (color, width) => ({
      type: "scatter3d", mode: "lines", x: [], y: [], z: [], hoverinfo: "skip", line: { color, width },
    });
    const marker = (color, size, name, hoverinfo) => ({
      type: "scatter3d", mode: "markers", x: [], y: [], z: [], name, hoverinfo,
      marker: { color, size, line: { width: 0 } },
    });
    return [
      line(style.ahead, 2),
      line(style.path, this.compact ? 3 : 4),
      marker(style.ink, this.compact ? 4 : 6, "Instrument", "skip"),
      ...MARKED.map((event) => marker(colourOf(event), this.compact ? 3 : 4, labelOf(event), "name")),
    ];
  }

  #layout() {
    const style = stylesOf();
    const axis = (title, index) => ({
      title: { text: this.compact ? "" : title },
      showticklabels: !this.compact,
      color: style.muted,
      gridcolor: style.grid,
      zerolinecolor: style.grid,
      showspikes: false,
      showbackground: false,
      nticks: 6,
      range: this.bounds?.[index],
    });
    return {
      uirevision: "kept", // the viewer's own angle survives every redraw
      showlegend: false,
      margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)",
      font: { color: style.muted, size: 11 },
      scene: {
        aspectmode: "cube",
        camera: { eye: this.compact ? { x: 0.7, y: -1.1, z: 0.85 } : { x: 0.85, y: -1.3, z: 1 } },
        xaxis: axis("x", 0),
        yaxis: axis("y", 1),
        zaxis: axis("z", 2),
      },
    };
  }
}

function columnsOf(movements) {
  return {
    x: movements.map(({ coordinates }) => coordinates[0]),
    y: movements.map(({ coordinates }) => coordinates[1]),
    z: movements.map(({ coordinates }) => coordinates[2] ?? 0),
  };
}

function boundsOf(movements, known) {
  const bounds = known?.map((pair) => [...pair])
    ?? [[Infinity, -Infinity], [Infinity, -Infinity], [Infinity, -Infinity]];
  for (const { coordinates } of movements) {
    for (let axis = 0; axis < 3; axis += 1) {
      const value = coordinates[axis] ?? 0;
      bounds[axis][0] = Math.min(bounds[axis][0], value);
      bounds[axis][1] = Math.max(bounds[axis][1], value);
    }
  }
  return bounds;
}

function stylesOf() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    path: read("--path"), ahead: read("--path-ahead"), grid: read("--grid"),
    muted: read("--muted"), ink: read("--ink"),
  };
}

function missing() {
  const note = document.createElement("p");
  note.className = "plot-missing";
  note.textContent = "The 3D view is not installed on this server.";
  return note;
}
