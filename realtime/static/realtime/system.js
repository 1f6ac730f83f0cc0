/** How the deployment fares, from now on: one chart for each figure. */

import { ChartWall } from "./charts.js";
import { listen } from "./hall.js";
import { find, localiseTimes } from "./page.js";

/** What each figure is called, and its unit. */
const FIGURES = {
  cpu_usage: ["Processor", "%"],
  memory_usage: ["Memory", "%"],
  disk_usage: ["Disk", "%"],
  event_loop_delay_ms: ["Event loop’s delay", "ms"],
  active_connections: ["Open connections", ""],
  messages_per_second: ["Messages", "per second"],
  queue_depth_writer: ["Rows waiting to be stored", ""],
  queue_depth_outbox: ["Messages waiting for other processes", ""],
};

localiseTimes();
const wall = new ChartWall(find("#charts"), {
  onFirst: () => { find("#no-values").hidden = true; },
  nameOf: (metric) => FIGURES[metric]?.[0] ?? metric,
  fromZero: true,
});
listen(["system"], {
  SYSTEM_SAMPLED: ({ metrics, timestamp }) => {
    for (const [metric, value] of Object.entries(metrics)) {
      wall.append(metric, { value, unit: FIGURES[metric]?.[1], timestamp });
    }
  },
}, () => {});
