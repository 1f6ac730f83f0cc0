/** One client speaks and another hears, for as long as it takes; in a page and in Node. */

export function begin({ RealtimeClient, url, speaker, hearer, hearerName, topic, count, options }) {
  const seen = { heard: [], direct: [], acked: 0, queued: 0, failed: [], gaps: [], isDone: false };
  const open = (token) => {
    const client = new RealtimeClient({ url, token: () => token, ...options });
    client.onGap((gap) => seen.gaps.push(gap));
    return client;
  };
  const listening = open(hearer);
  listening.on("Broadcast", ({ payload }) => seen.heard.push(payload));
  listening.on("DirectMessage", ({ payload }) => seen.direct.push(payload));
  const speaking = open(speaker);

  const answered = (answer) => answer.then(
    () => { seen.acked += 1; },
    (error) => {
      if (error.isQueued) {
        seen.queued += 1;
      } else {
        seen.failed.push(`${error.name}: ${error.message}`);
      }
    },
  );
  const until = async (holds) => {
    while (!holds()) {
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
  };
  (async () => {
    listening.connect();
    await listening.subscribe([topic]);
    speaking.connect();
    const answers = Array.from({ length: count }, (_, n) => [
      answered(speaking.publish(topic, n)),
      ...(n % 10 ? [] : [answered(speaking.sendDirect(hearerName, n))]),
    ]);
    await Promise.all(answers.flat());
    await until(() => seen.heard.length >= count && seen.direct.length >= count / 10);
    seen.isDone = true;
    listening.close();
    speaking.close();
  })().catch((error) => seen.failed.push(String(error)));
  return seen;
}
