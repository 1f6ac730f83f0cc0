/** `node traffic_in_node.js CLIENT.js '{…}'`: prints how far it is, and at the end what was seen. */

import { begin } from "./traffic.js";

const [, , client, settings] = process.argv;
const { RealtimeClient } = await import(client);
const seen = begin({ RealtimeClient, ...JSON.parse(settings) });
const report = setInterval(() => {
  console.log(JSON.stringify(seen));
  if (seen.isDone || seen.failed.length) {
    clearInterval(report);
    process.exit(0);
  }
}, 50);
