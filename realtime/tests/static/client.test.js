import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ConnectionLost, QueueFull, Refused, Stopped, TimedOut, TooLarge, decodeFrame, encodeFrame,
} from "../../static/realtime/client.js";
import { Wire, admitted, connected, cut, newClient, turns } from "./doubles.js";

const ids = (messages) => messages.map(({ id }) => id);

// --- Connecting --------------------------------------------------------------------------

test("the token travels as a subprotocol and the client's name in the address", async () => {
  const client = newClient({ clientId: "me" });
  const wire = await connected(client);
  assert.deepEqual(wire.protocols, ["realtime.v1", "access_token.token1"]);
  assert.equal(wire.url.searchParams.get("client_id"), "me");
  assert.equal(wire.url.searchParams.has("token"), false);
});

test("every connection asks for a token of its own", async () => {
  const client = newClient();
  await connected(client);
  const wire = await cut(client);
  assert.equal(wire.protocols[1], "access_token.token2");
});

test("the states are told in order", async () => {
  const client = newClient();
  await connected(client);
  await cut(client);
  client.close();
  assert.deepEqual(client.states, ["connecting", "live", "waiting", "connecting", "live", "stopped"]);
});

test("a token that cannot be had now is asked for again, one that never can ends it", async () => {
  const failures = [new Error("away"), Object.assign(new Error("signed out"), { isFinal: true })];
  const client = newClient({ token: () => Promise.reject(failures.shift()) });
  const texts = [];
  client.onState(({ text }) => texts.push(text));
  client.connect();
  await turns();
  await client.time.pass(100);
  assert.deepEqual(client.states, ["connecting", "waiting", "connecting", "stopped"]);
  assert.equal(texts.at(-1), "signed out");
});

test("two refusals in a row end it with the server's reason", async () => {
  const client = newClient();
  client.connect();
  await turns();
  Wire.opened[0].end(1008, "token revoked");
  await client.time.pass(100);
  Wire.opened[1].end(1008, "token revoked");
  assert.equal(client.states.at(-1), "stopped");
  await client.time.pass(60_000);
  assert.equal(Wire.opened.length, 2);
});

test("a full server is left alone for as long as it says", async () => {
  const client = newClient();
  client.connect();
  await turns();
  Wire.opened[0].refuse(429, { limit: 1, used: 1, retry_after_ms: 5_000 });
  Wire.opened[0].end(1013);
  await client.time.pass(4_999);
  assert.equal(Wire.opened.length, 1);
  await client.time.pass(1);
  assert.equal(Wire.opened.length, 2);
});

test("a ping goes out every 30 seconds, and a server that does not answer is left", async () => {
  const client = newClient();
  const wire = await connected(client);
  await client.time.pass(30_000);
  assert.equal(wire.of("Ping").length, 1);
  wire.say("Pong", {});
  await client.time.pass(30_000);
  assert.equal(wire.of("Ping").length, 2);
  await client.time.pass(10_000);
  assert.equal(wire.closedWith, 1000);
  assert.equal(Wire.opened.length, 2);
});

test("a server that never greets is left", async () => {
  const client = newClient();
  client.connect();
  await turns();
  await client.time.pass(15_000);
  assert.equal(Wire.opened.length, 2);
});

test("the server's ping is answered with its own time", async () => {
  const wire = await connected(newClient());
  wire.say("Ping", { timestamp: 5 });
  assert.deepEqual(wire.of("Pong")[0].data, { timestamp: 5 });
});

test("a token that runs out is renewed on the same connection", async () => {
  let count = 0;
  const client = newClient({ token: async () => ({ token: `t${(count += 1)}`, lifetimeMs: 1 }) });
  const wire = await connected(client);
  wire.say("AuthStatus", { status: "token_expiring", expires_at: 1, refresh_required: true });
  await turns();
  assert.deepEqual(wire.of("Auth")[0].data, { token: "t2" });
  wire.say("AuthStatus", { status: "expired", refresh_required: true });
  assert.equal(Wire.opened.length, 1);
});

test("a new token that cannot be had at once is asked for again", async () => {
  const answers = ["t1", new Error("away"), "t2"];
  const client = newClient({
    token: async () => { const next = answers.shift(); if (next instanceof Error) throw next; return next; },
  });
  const wire = await connected(client);
  wire.say("AuthStatus", { status: "token_expiring", refresh_required: true });
  await turns();
  await client.time.pass(5_000);
  assert.deepEqual(wire.of("Auth").map(({ data }) => data.token), ["t2"]);
});

// --- Subscriptions ------------------------------------------------------------------------

test("what is subscribed to before there is a connection is asked for when there is", async () => {
  const client = newClient();
  const answer = client.subscribe(["a.*", "b"]);
  const wire = await connected(client);
  assert.deepEqual(wire.of("Subscribe")[0].data, { topics: ["a.*", "b"] });
  assert.deepEqual(await answer, { topics: ["a.*", "b"], refused: [] });
});

test("many subscriptions of one turn are one message, of 128 at most", async () => {
  const client = newClient();
  const wire = await connected(client);
  for (let n = 0; n < 130; n += 1) {
    client.subscribe([`t${n}`]);
  }
  await turns();
  assert.deepEqual(wire.of("Subscribe").map(({ data }) => data.topics.length), [128, 2]);
});

test("a topic that may not be heard is refused alone, and not asked for again", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answer = client.subscribe(["a", "b"]);
  await turns();
  const [{ id }] = wire.of("Subscribe");
  wire.refuse(403, { topic: "b", message_id: id });
  wire.confirm({ position: "e-1" });
  const { topics, refused } = await answer;
  assert.deepEqual(topics, ["a"]);
  assert.equal(refused[0].code, 403);
  assert.deepEqual((await cut(client)).of("Subscribe")[0].data.topics, ["a"]);
});

test("one wrong topic does not take the others with it", async () => {
  const client = newClient();
  const answer = client.subscribe(["a", "b..c"]);
  client.connect();
  await turns();
  const wire = Wire.opened[0];
  wire.greet();
  wire.refuse(400, { field: "data.topics", message_id: wire.of("Subscribe")[0].id });
  const [, good, bad] = wire.of("Subscribe");
  wire.say("Status", { status: "subscribed", details: { topics: ["a"], position: "e-1" } });
  wire.ack(good.id);
  wire.refuse(400, { field: "data.topics", message_id: bad.id });
  const { topics, refused } = await answer;
  assert.deepEqual([topics, refused.length, client.states.at(-1)], [["a"], 1, "live"]);
});

test("what a new role ends is not asked for again", async () => {
  const client = newClient();
  client.subscribe(["a", "b"]);
  const wire = await connected(client);
  wire.say("Status", { status: "unsubscribed", details: { topics: ["a"], reason: "your role changed" } });
  assert.deepEqual((await cut(client)).of("Subscribe")[0].data.topics, ["b"]);
});

test("a subscription that cannot be had now is asked for when the server says", async () => {
  const client = newClient();
  client.subscribe(["a"]);
  client.connect();
  await turns();
  const [wire] = Wire.opened;
  wire.greet();
  wire.refuse(503, { retry_after_ms: 1_000, message_id: wire.of("Subscribe")[0].id });
  await client.time.pass(1_000);
  assert.equal(wire.of("Subscribe").length, 2);
});

// --- Recovery -----------------------------------------------------------------------------

test("after a cut it recovers from the last position, and says so", async () => {
  const client = newClient();
  const readies = [];
  client.onReady((ready) => readies.push(ready));
  client.subscribe(["a"]);
  const wire = await connected(client, { position: "e-3" });
  wire.tell("a", 1, { message_id: "m7", position: "e-7" });
  const next = await cut(client);
  assert.deepEqual(next.of("Subscribe")[0].data.recover, { position: "e-7" });
  assert.deepEqual(readies, [{ recovered: null }, { recovered: true }]);
});

test("mail before the confirmation moves nothing", async () => {
  const client = newClient();
  client.subscribe(["a"]);
  await connected(client, { position: "e-3" });
  Wire.opened[0].end();
  await client.time.pass(100);
  Wire.opened[1].greet();
  Wire.opened[1].tell("mail", 8, { message_id: "m8", position: "e-8" });
  assert.equal(client.position, "e-3");
  Wire.opened[1].end();
  await client.time.pass(1_000);
  Wire.opened[2].greet();
  assert.deepEqual(Wire.opened[2].of("Subscribe")[0].data.recover, { position: "e-3" });
});

test("nothing heard yet recovers from where it subscribed", async () => {
  const client = newClient();
  client.subscribe(["a"]);
  await connected(client, { position: "e-3" });
  assert.deepEqual((await cut(client)).of("Subscribe")[0].data.recover, { position: "e-3" });
});

test("what comes again is not told again", async () => {
  const client = newClient();
  client.subscribe(["a"]);
  const wire = await connected(client);
  wire.tell("a", 1, { message_id: "m1", position: "e-1" });
  wire.tell("a", 1, { message_id: "m1", position: "e-1" });
  wire.tell("a", "live", { message_id: "m2" });
  wire.tell("a", "live", { message_id: "m2" });
  assert.deepEqual(client.heard, [1, "live", "live"]);
});

test("after an overtaking message it recovers from before it, and drops what it had", async () => {
  const client = newClient();
  client.subscribe(["a", "b"]);
  const wire = await connected(client);
  wire.tell("a", 1, { message_id: "m1", position: "e-1" });
  wire.tell("b", 9, { message_id: "m9", position: "e-9", recover_from: "e-1" });
  const next = await cut(client);
  assert.deepEqual(next.of("Subscribe")[0].data.recover, { position: "e-1" });
  next.tell("a", 5, { message_id: "m5", position: "e-5" });
  next.tell("b", 9, { message_id: "m9", position: "e-9" });
  assert.deepEqual(client.heard, [1, 9, 5]);
  assert.equal(client.position, "e-9");
});

test("what is no longer stored is told as a gap, and it goes on from there", async () => {
  const client = newClient();
  client.subscribe(["a"]);
  await connected(client, { position: "e-3" });
  await cut(client, { position: "f-1", recovered: false });
  assert.deepEqual(client.gaps, [{ reason: "not_recovered", from: "e-3", to: "f-1" }]);
  assert.equal(client.position, "f-1");
});

test("a gap of the server's is told", async () => {
  const client = newClient();
  const wire = await connected(client);
  wire.say("Gap", { skipped: 3, topic: "a.**" });
  assert.deepEqual(client.gaps, [{ skipped: 3, topic: "a.**" }]);
});

test("a cut between two pieces of a recovery loses neither", async () => {
  const client = newClient();
  client.subscribe(Array.from({ length: 129 }, (_, n) => `t${n}`));
  await connected(client, { position: "e-3" });
  Wire.opened[0].end();
  await client.time.pass(100);
  const second = Wire.opened[1];
  second.greet();
  second.tell("t0", 8, { message_id: "m8", position: "e-8" });
  second.confirm({ recovered: true });
  const third = await cut(client);
  assert.deepEqual(third.of("Subscribe").map(({ data }) => data.recover.position), ["e-3", "e-3"]);
  third.tell("t128", 5, { message_id: "m5", position: "e-5" });
  third.tell("t0", 8, { message_id: "m8", position: "e-8" });
  assert.deepEqual(client.heard, [8, 5]);
});

test("what a second piece recovers after its confirmation is not skipped by a cut", async () => {
  const client = newClient();
  client.subscribe(Array.from({ length: 129 }, (_, n) => `t${n}`));
  await connected(client, { position: "e-3" });
  Wire.opened[0].end();
  await client.time.pass(100);
  const second = Wire.opened[1];
  second.greet();
  second.confirm({ recovered: true });
  second.tell("t0", 8, { message_id: "m8", position: "e-8" });
  second.confirm({ recovered: true });
  assert.equal(client.position, "e-3");
  second.tell("t128", 5, { message_id: "m5", position: "e-5" });
  assert.equal(client.position, "e-5");
});

test("its own topic is recovered, too: a message written to a lost connection comes again", async () => {
  const claims = Buffer.from('{"sub":"zoë","userId":"7f"}').toString("base64url");
  const client = newClient({ token: () => `head.${claims}.sign` });
  const wire = await connected(client, { position: "e-3" });
  assert.deepEqual(wire.of("Subscribe")[0].data.topics, ["users.7f"]);
  assert.deepEqual((await cut(client)).of("Subscribe")[0].data.recover, { position: "e-3" });
  assert.equal(client.topics.size, 0);
});

test("the limits that the server tells are kept to", async () => {
  const client = newClient({ messagesPerSecond: 0 });
  client.connect();
  await turns();
  const limits = { messages_per_second: 10, message_bytes: 100 };
  Wire.opened[0].say("Status", { status: "connected", details: { connection_id: "c", limits } });
  for (let n = 0; n < 9; n += 1) {
    client.send("X-Note", n);
  }
  assert.equal(Wire.opened[0].of("X-Note").length, 5);
  await assert.rejects(client.publish("a", "x".repeat(100)), TooLarge);
});

test("a page that reads everything anew does not recover", async () => {
  const client = newClient({ recovers: false });
  client.subscribe(["a"]);
  await connected(client);
  assert.equal((await cut(client)).of("Subscribe")[0].data.recover, undefined);
});

test("a client goes on where another stopped", async () => {
  const client = newClient({ position: "e-5" });
  client.subscribe(["a"]);
  const wire = await connected(client, { position: "e-5", recovered: true });
  assert.deepEqual(wire.of("Subscribe")[0].data.recover, { position: "e-5" });
});

// --- Publishing ---------------------------------------------------------------------------

test("a publish is answered with its Ack", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answer = client.publish("a", { n: 1 }, { metadata: { priority: "high" } });
  const [message] = wire.of("Broadcast");
  assert.deepEqual(message.data, { topic: "a", payload: { n: 1 } });
  assert.deepEqual(message.metadata, { priority: "high" });
  wire.ack(message.id, { recipients: 2 });
  assert.equal((await answer).recipients, 2);
});

test("what was not answered is sent again with the same id, in order, and answered once", async () => {
  const client = newClient({ clientId: "me" });
  const wire = await connected(client);
  const answers = [1, 2, 3].map((n) => client.publish("a", n));
  wire.ack(wire.of("Broadcast")[0].id);
  const sent = ids(wire.of("Broadcast"));
  const next = await cut(client);
  assert.deepEqual(ids(next.of("Broadcast")), sent.slice(1));
  assert.equal(next.url.searchParams.get("client_id"), "me");
  next.of("Broadcast").forEach(({ id }) => next.ack(id));
  next.of("Broadcast").forEach(({ id }) => next.ack(id));
  assert.equal((await Promise.all(answers)).length, 3);
});

test("it is sent again only when the subscriptions hold again", async () => {
  const client = newClient();
  client.subscribe(["a"]);
  await connected(client);
  client.publish("a", 1);
  Wire.opened[0].end();
  await client.time.pass(100);
  const wire = Wire.opened[1];
  wire.greet();
  assert.equal(wire.of("Broadcast").length, 0);
  wire.confirm({ recovered: true });
  assert.equal(wire.of("Broadcast").length, 1);
});

test("an error to a message rejects it alone", async () => {
  const client = newClient();
  const wire = await connected(client);
  const refused = client.sendDirect("bo", 1);
  const taken = client.publish("a", 1);
  wire.refuse(404, { message_id: wire.of("DirectMessage")[0].id, queued: true });
  wire.ack(wire.of("Broadcast")[0].id);
  await assert.rejects(refused, (error) => error instanceof Refused && error.code === 404 && error.isQueued);
  assert.equal((await taken).status, "delivered");
});

test("what the server cannot take now is sent again when it says", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answer = client.publish("a", 1);
  wire.refuse(503, { message_id: wire.of("Broadcast")[0].id, retry_after_ms: 2_000 });
  await client.time.pass(1_999);
  assert.equal(wire.of("Broadcast").length, 1);
  await client.time.pass(1);
  const [first, again] = wire.of("Broadcast");
  assert.equal(again.id, first.id);
  wire.ack(again.id);
  await answer;
});

test("too fast for the server: it waits, slows down, and sends again what was dropped", async () => {
  const client = newClient({ messagesPerSecond: 0 });
  const wire = await connected(client);
  for (let n = 0; n < 30; n += 1) {
    client.publish("a", n);
  }
  wire.of("Broadcast").slice(0, 10).forEach(({ id }) => wire.ack(id));
  wire.refuse(429, { limit: 10, retry_after_ms: 500 });
  await client.time.pass(500);
  const again = () => wire.of("Broadcast").slice(30);
  assert.ok(again().length < 20);
  await client.time.pass(5_000);
  assert.deepEqual(ids(again()), ids(wire.of("Broadcast").slice(10, 30)));
});

test("sends are spaced under the told limit", async () => {
  const client = newClient({ messagesPerSecond: 100 });
  const wire = await connected(client);
  for (let n = 0; n < 300; n += 1) {
    client.send("X-Note", n);
  }
  assert.equal(wire.of("X-Note").length, 50);
  await client.time.pass(1_000);
  assert.ok(wire.of("X-Note").length <= 145, `${wire.of("X-Note").length}`);
  await client.time.pass(3_000);
  assert.equal(wire.of("X-Note").length, 300);
});

test("only so many are under way at a time", async () => {
  const client = newClient({ messagesPerSecond: 0 });
  const wire = await connected(client);
  for (let n = 0; n < 200; n += 1) {
    client.publish("a", n);
  }
  assert.equal(wire.of("Broadcast").length, 128);
  wire.ack(wire.of("Broadcast")[0].id);
  assert.equal(wire.of("Broadcast").length, 129);
});

test("while away a bounded number is kept", async () => {
  const client = newClient({ queueMax: 2 });
  client.publish("a", 1).catch(() => {});
  assert.equal(client.send("X-Note", {}), true);
  await assert.rejects(client.publish("a", 3), QueueFull);
  assert.equal(client.send("X-Note", {}), false);
});

test("what is too large is not sent, here nor when the server says so", async () => {
  const client = newClient();
  const wire = await connected(client);
  await assert.rejects(client.publish("a", "x".repeat(70_000)), TooLarge);
  const answer = client.publish("a", "x".repeat(2_000));
  wire.refuse(413, { limit: 1_024 });
  await assert.rejects(answer, TooLarge);
});

test("who does not want to wait for ever is told", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answer = client.publish("a", 1, { timeoutMs: 1_000 });
  const check = assert.rejects(answer, TimedOut);
  await client.time.pass(1_000);
  await check;
  wire.ack(wire.of("Broadcast")[0].id);
});

test("closing rejects what was not answered, and all timers are gone", async () => {
  const client = newClient();
  await connected(client);
  const check = assert.rejects(client.publish("a", 1, { timeoutMs: 1_000 }), Stopped);
  client.close();
  await check;
  assert.equal(client.time.timers.size, 0);
});

test("history is answered by its own message", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answer = client.history("a", { limit: 5 });
  assert.deepEqual(wire.of("History")[0].data, { topic: "a", limit: 5 });
  wire.ack(wire.of("History")[0].id);
  wire.say("History", { topic: "a", messages: [1], complete: true });
  assert.deepEqual((await answer).messages, [1]);
});

test("presence is kept over a reconnect, with its metadata in the address", async () => {
  const client = newClient({ presence: { device: "web" } });
  const wire = await connected(client);
  assert.equal(wire.url.searchParams.get("metadata"), '{"device":"web"}');
  client.setPresence("away");
  assert.deepEqual(wire.of("Presence")[0].data, { status: "away", metadata: { device: "web" } });
  assert.equal((await cut(client)).of("Presence")[0].data.status, "away");
});

test("a handler that fails breaks nothing", async () => {
  const faults = [];
  const client = newClient({ onFault: ({ message }) => faults.push(message) });
  const wire = await connected(client);
  client.on("Notification", () => { throw new Error("theirs"); });
  client.on("Notification", () => client.heard.push("told"));
  wire.say("Notification", { title: "x" });
  assert.deepEqual(client.heard, ["told"]);
  assert.deepEqual(faults, ["theirs"]);
});

// --- Binary -----------------------------------------------------------------------------

test("a binary frame is what it was made of", () => {
  const frame = encodeFrame("file_transfer", "é.bin", new Uint8Array([1, 2, 3]));
  assert.deepEqual([...frame], [3, 0, 0, 0, 11, 0, 6, 0xc3, 0xa9, 46, 98, 105, 110, 1, 2, 3]);
  assert.deepEqual(decodeFrame(frame.buffer), {
    type: "file_transfer", address: "é.bin", content: new Uint8Array([1, 2, 3]),
  });
  for (const wrong of [[], [1, 0, 0, 0, 9, 0, 0], [5, 0, 0, 0, 2, 0, 0], [1, 0, 0, 0, 2, 0, 9]]) {
    assert.throws(() => decodeFrame(new Uint8Array(wrong).buffer), RangeError);
  }
});

test("binary messages are answered in order, by their type", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answers = ["broadcast", "file_transfer"].map((type) => client.sendBinary(type, "a", "x"));
  assert.equal(wire.sent.at(-1)[0], 3);
  wire.say("Status", { status: "binary_received", details: { size: 1, type: "file_transfer", checksum: "f" } });
  wire.say("Status", { status: "binary_received", details: { size: 1, type: "broadcast", checksum: "b" } });
  assert.deepEqual((await Promise.all(answers)).map(({ checksum }) => checksum), ["b", "f"]);
});

test("a binary message whose answer was lost is not sent again but told", async () => {
  const client = newClient();
  await connected(client);
  const check = assert.rejects(client.sendBinary("broadcast", "a", "x"), ConnectionLost);
  await cut(client);
  await check;
});

test("an error without a name is the oldest binary message's", async () => {
  const client = newClient();
  const wire = await connected(client);
  const [refused, taken] = [1, 2].map(() => client.sendBinary("file_transfer", "a", "x"));
  client.publish("a", 1).catch(() => {});
  wire.refuse(413, { limit: 100, used: 99 });
  wire.say("Status", { status: "binary_received", details: { type: "file_transfer", size: 1 } });
  await assert.rejects(refused, (error) => error.code === 413 && error.details.used === 99);
  assert.equal((await taken).size, 1);
  client.close();
});

test("a handler of the server's is asked, and answers by the id", async () => {
  const client = newClient();
  const wire = await connected(client);
  const answer = client.ask("X-WhoAmI");
  const [{ id }] = wire.of("X-WhoAmI");
  wire.say("X-WhoAmI", { username: "someone else" }, { id: "other" });
  wire.say("X-WhoAmI", { username: "ana" }, { id });
  wire.ack(id, { status: "answered" });
  assert.equal((await answer).username, "ana");
});

test("binary frames are heard", async () => {
  const client = newClient({ binary: true });
  client.subscribe(["a"]);
  const wire = await connected(client);
  assert.equal(wire.of("Subscribe")[0].data.binary, true);
  const heard = [];
  client.on("Binary", ({ address, content }) => heard.push([address, ...content]));
  wire.onmessage({ data: encodeFrame("broadcast", "a", new Uint8Array([7])).buffer });
  assert.deepEqual(heard, [["a", 7]]);
});
