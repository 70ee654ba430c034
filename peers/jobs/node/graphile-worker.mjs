// graphile-worker 0.17 with what its documents say under "performance": a local queue and completions in batches.
import { makeWorkerUtils, run } from "graphile-worker";
import { count, enqueued, forEver, pickup, ran, role, say, url } from "./protocol.mjs";

const quiet = () => () => {};
const { Logger } = await import("graphile-worker");
const logger = new Logger(quiet);
const preset = {
  worker: {
    connectionString: url,
    maxPoolSize: 20,
    concurrentJobs: 24,
    pollInterval: 500,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};
const taskList = { nothing: ({ number }) => ran(number) };
const work = () => run({ preset, taskList, logger, noHandleSignals: true });

const utils = await makeWorkerUtils({ connectionString: url, logger });
if (role === "setup") {
  await utils.migrate();
} else if (role === "enqueue") {
  await enqueued(async () => {
    for (let first = 0; first < count; first += 5_000) {
      const jobs = [];
      for (let number = first; number < Math.min(first + 5_000, count); number++) {
        jobs.push({ identifier: "nothing", payload: { number } });
      }
      await utils.addJobs(jobs);
    }
  });
} else if (role === "work") {
  say("working");
  await work();
  await forEver();
} else if (role === "pickup") {
  await work();
  await pickup((number) => utils.addJob("nothing", { number }));
}
process.exit(0);
