// pg-boss 10: batches of 1,000, four workers, polled as often as it allows.
import PgBoss from "pg-boss";
import { count, enqueued, forEver, pickup, ran, role, say, url } from "./protocol.mjs";

const boss = new PgBoss({ connectionString: url, max: 20, supervise: role === "work" });
boss.on("error", () => {});
await boss.start();
await boss.createQueue("nothing");
const work = async () => {
  const options = { batchSize: 1_000, pollingIntervalSeconds: 0.5 };
  for (let worker = 0; worker < 4; worker++) {
    await boss.work("nothing", options, async (jobs) => jobs.forEach((job) => ran(job.data.number)));
  }
};
if (role === "enqueue") {
  await enqueued(async () => {
    for (let first = 0; first < count; first += 5_000) {
      const jobs = [];
      for (let number = first; number < Math.min(first + 5_000, count); number++) {
        jobs.push({ name: "nothing", data: { number } });
      }
      await boss.insert(jobs);
    }
  });
} else if (role === "work") {
  say("working");
  await work();
  await forEver();
} else if (role === "pickup") {
  await work();
  await pickup((number) => boss.send("nothing", { number }));
}
process.exit(0);
