/** A wall of charts, one for each metric; a metric nobody has seen yet gets a new one. */

import { LineChart } from "./chart.js";
import { figure, fill, find, fromTemplate } from "./page.js";

/** No page draws more; a device may have more metrics than anybody can look at. */
const CHARTS_MAX = 40;

export class ChartWall {
  /**
   * `onFirst()` runs when there is something to show at all, `nameOf(metric)` is its heading;
   * `fromZero` is for what is read as a share of something.
   */
  constructor(wall, { onFirst = () => {}, nameOf = (metric) => metric, fromZero = false } = {}) {
    this.wall = wall;
    this.onFirst = onFirst;
    this.nameOf = nameOf;
    this.fromZero = fromZero;
    this.charts = new Map();
    wall.querySelectorAll("[data-metric]").forEach((element) => this.#adopt(element));
  }

  /** Show the stored past: `{metric: {unit, times, values}}`. */
  fill(past) {
    for (const [metric, { unit, times, values }] of Object.entries(past)) {
      const view = this.#viewOf(metric);
      if (view) {
        view.chart.fill(times, values);
        this.#show(view, values.at(-1), unit);
      }
    }
  }

  append(metric, { value, unit, timestamp }) {
    const view = this.#viewOf(metric);
    if (view) {
      view.chart.append(timestamp, value);
      this.#show(view, value, unit);
    }
  }

  #show({ element }, value, unit) {
    if (value !== undefined) {
      find("[data-value]", element).textContent = figure(value);
      find("[data-unit]", element).textContent = unit ?? "";
    }
  }

  #viewOf(metric) {
    if (!this.charts.has(metric)) {
      if (this.charts.size >= CHARTS_MAX) {
        return null;
      }
      const element = fromTemplate("chart");
      element.dataset.metric = metric;
      fill(element, { metric: this.nameOf(metric) });
      this.wall.append(element);
      this.#adopt(element);
      this.onFirst();
    }
    return this.charts.get(metric);
  }

  #adopt(element) {
    this.charts.set(element.dataset.metric, {
      element, chart: new LineChart(find(".plot", element), { fromZero: this.fromZero }),
    });
  }
}
