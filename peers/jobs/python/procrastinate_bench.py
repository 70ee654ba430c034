"""procrastinate: what `src/protocol.rs` is for Rust, and its worker with 50 jobs at once, woken by NOTIFY."""

import asyncio
import logging
import sys
import time

import procrastinate

role, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
logging.disable(logging.CRITICAL)
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=20)
)
runs = 0
begun: dict[int, int] = {}


def say(words: str) -> None:
    print(f"@{words}", flush=True)


@app.task(name="nothing", queue="default")
async def nothing(number: int) -> None:
    global runs
    begun.setdefault(number, time.monotonic_ns())
    runs += 1
    if runs == count:
        say("ran")


def work() -> "asyncio.Future[None]":
    return app.run_worker_async(concurrency=50, wait=True, install_signal_handlers=False)


async def pickup() -> None:
    acknowledged = []
    await asyncio.sleep(1)
    for number in range(count):
        await asyncio.sleep(0.015 + number * 7.919 % 10 / 1_000)
        await nothing.defer_async(number=number)
        acknowledged.append(time.monotonic_ns())
    for _ in range(500):
        if len(begun) >= count:
            break
        await asyncio.sleep(0.02)
    never = 10**15
    waits = sorted(max(0, begun.get(number, never) - at) // 1_000 for number, at in enumerate(acknowledged))
    say(f"pickup {waits[count // 2]} {waits[count * 99 // 100]} {waits[-1]}")


async def main() -> None:
    async with app.open_async():
        if role == "setup":
            await app.schema_manager.apply_schema_async()
        elif role == "enqueue":
            began = time.monotonic()
            for first in range(0, count, 5_000):
                jobs = [{"number": number} for number in range(first, min(first + 5_000, count))]
                await nothing.batch_defer_async(*jobs)
            say(f"enqueued {time.monotonic() - began}")
        elif role == "work":
            say("working")
            await work()
        elif role == "pickup":
            working = asyncio.create_task(work())
            await pickup()
            working.cancel()


asyncio.run(main())
