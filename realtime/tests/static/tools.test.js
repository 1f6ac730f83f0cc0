import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ConnectionDebugger, ConnectionMonitor, ConnectionPool, MessageBatcher, bytesOf,
} from "../../static/realtime/client.js";
import { Seen } from "../../static/realtime/progress.js";
import { connected, cut, newClient } from "./doubles.js";

test("ten messages leave as one, and each is answered for itself", async () => {
  const client = newClient();
  const wire = await connected(client);
  const batcher = new MessageBatcher(client);
  const answers = Array.from({ length: 13 }, (_, n) => batcher.publish("a", n));
  assert.deepEqual(wire.of("Batch").map(({ data }) => data.messages.length), [10]);
  await client.time.pass(100);
  const batched = wire.of("Batch").flatMap(({ data }) => data.messages);
  assert.equal(batched.length, 13);
  batched.forEach(({ id, data }) => wire.ack(id, { recipients: data.payload }));
  assert.deepEqual((await Promise.all(answers)).map(({ recipients }) => recipients), [...Array(13).keys()]);
});

test("a batch that was not answered goes again with the same ids", async () => {
  const client = newClient();
  const wire = await connected(client);
  const batcher = new MessageBatcher(client, 2);
  batcher.publish("a", 1).catch(() => {});
  batcher.publish("a", 2).catch(() => {});
  const [sent] = wire.of("Batch");
  assert.deepEqual((await cut(client)).of("Batch"), [sent]);
  client.close();
});

test("a batch is never larger than a message may be", async () => {
  const client = newClient({ messageBytes: 1_000 });
  const wire = await connected(client);
  const batcher = new MessageBatcher(client, 3);
  for (let n = 0; n < 3; n += 1) {
    batcher.publish("a", "x".repeat(380)).catch(() => {});
  }
  assert.deepEqual(wire.sent.map(({ type }) => type), ["Batch", "Broadcast"]);
  client.close();
});

test("a pool opens a few connections and takes them in turn", () => {
  const opened = [];
  const pool = new ConnectionPool(() => opened.push({ close() { this.isClosed = true; } }) && opened.at(-1), 2);
  const taken = [1, 2, 3, 4].map(() => opened.indexOf(pool.getConnection()));
  assert.deepEqual(taken, [0, 1, 0, 1]);
  pool.close();
  assert.ok(opened.every(({ isClosed }) => isClosed));
});

test("the monitor counts both ways, and keeps its counts", async () => {
  const client = newClient();
  const monitor = new ConnectionMonitor();
  monitor.addConnection("one", client);
  const wire = await connected(client);
  wire.say("Ping", { timestamp: 1 });
  monitor.removeConnection("one");
  wire.say("Ping", { timestamp: 1 });
  const stats = monitor.getStats();
  assert.deepEqual(
    [stats.messagesReceived, stats.messagesSent, stats.activeConnections, stats.totalConnections],
    [2, 1, 0, 1],
  );
  assert.equal(stats.messagesPerConnection, 3);
});

test("the debugger says what its level says, and no token", async () => {
  const client = newClient();
  const lines = [];
  const debug = new ConnectionDebugger(client, { write: (line, data) => lines.push(`${line} ${JSON.stringify(data)}`) });
  const wire = await connected(client);
  assert.ok(lines.some((line) => line.includes("INFO: live")));
  debug.setLogLevel("error");
  const before = lines.length;
  wire.say("Ping", {});
  wire.refuse(403, { topic: "a" });
  assert.deepEqual(lines.slice(before).map((line) => line.includes("ERROR: refused")), [true]);
  debug.disable();
  wire.refuse(403, { topic: "a" });
  assert.equal(lines.length, before + 1);
  assert.ok(!lines.join().includes("token"));
});

test("only the last ids are remembered", () => {
  const seen = new Seen(2);
  assert.deepEqual(["a", "b", "a", "c", "a"].map((id) => seen.add(id)), [true, true, false, true, true]);
});

test("bytes come of everything that holds some", () => {
  assert.deepEqual([...bytesOf({ base64: "AQI=" })], [1, 2]);
  assert.deepEqual([...bytesOf("é")], [0xc3, 0xa9]);
  assert.deepEqual([...bytesOf(new Uint16Array([1]).subarray(0))], [1, 0]);
  assert.deepEqual([...bytesOf(new ArrayBuffer(1))], [0]);
});
