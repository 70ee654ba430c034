// What `src/protocol.rs` is for Rust: `ROLE URL COUNT`, and lines that begin with `@`.
import { writeSync } from "node:fs";

export const [role, url, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];

export const say = (words) => writeSync(1, `@${words}\n`);
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const forEver = () => new Promise(() => setInterval(() => {}, 3_600_000));

let runs = 0;
const acknowledged = [];
const begun = [];

/** What every handler does, and nothing else. */
export function ran(number) {
  begun[number] ??= process.hrtime.bigint();
  if (++runs === count) say("ran");
}

export async function enqueued(all) {
  const began = process.hrtime.bigint();
  await all();
  say(`enqueued ${Number(process.hrtime.bigint() - began) / 1e9}`);
}

export async function pickup(enqueue) {
  await sleep(1_000);
  for (let number = 0; number < count; number++) {
    await sleep(15 + (number * 7.919) % 10);
    await enqueue(number);
    acknowledged[number] = process.hrtime.bigint();
  }
  for (let waits = 0; waits < 500 && begun.filter(Boolean).length < count; waits++) await sleep(20);
  const us = acknowledged
    .map((at, number) => (begun[number] === undefined ? 1e12 : Math.max(0, Number(begun[number] - at) / 1e3)))
    .sort((one, other) => one - other)
    .map(Math.round);
  say(`pickup ${us[Math.floor(count * 0.5)]} ${us[Math.floor(count * 0.99)]} ${us[count - 1]}`);
}
