"""What the API costs the jobs beside it, and the jobs the API: see ./api-load."""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

CONFIG = """
[store]
url = "sqlite:{folder}/jobs.db"
[health]
listen = "127.0.0.1:0"
[api]
listen = "127.0.0.1:0"
[log]
level = "warn,steadfast::serve=info"
[queues.default]
permits = 4
[queues.aside]
permits = 1
[handlers.nothing]
exec = ["/bin/true"]
"""


class Server:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.config = f"{folder}/steadfast.toml"
        with open(self.config, "w") as file:
            file.write(CONFIG.format(folder=folder))
        self.log = open(f"{folder}/log", "w+")
        self.process = subprocess.Popen([program, "serve", "--config", self.config], stderr=self.log)
        self.address = self.told(r"the API is served.* address=(\S+)")
        made = [program, "admin", "token", "create", "--name", "load", "--role", "admin", "--config", self.config]
        self.token = subprocess.check_output(made, stderr=subprocess.DEVNULL, text=True).strip()

    def told(self, what):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with open(f"{self.folder}/log") as log:
                found = re.search(what, log.read())
            if found:
                return found.group(1)
            time.sleep(0.05)
        sys.exit(f"the server does not start: {open(f'{self.folder}/log').read()}")

    def ask(self, method, path, body=None):
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        body = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://{self.address}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def jobs(self, state):
        # Counts end at 10,000.
        return self.ask("GET", "/api/v1/status")["jobs"][state]

    def pause(self, queue, what="pause"):
        self.ask("POST", f"/api/v1/queues/{queue}/{what}", {"reason": "a measurement"})

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def requests(server, load, classes, seconds):
    """Starts to send."""
    plan = [f'target = "{server.address}"']
    for name, request, body, rate in classes:
        plan.append(f'[[class]]\nname = "{name}"\nrequest = "{request}"\n'
                    f'headers = {{ authorization = "Bearer {server.token}", content-type = "application/json" }}\n'
                    + (f"body = '{body}'\n" if body else "")
                    + f"steps = [{{ seconds = {seconds}, rate = {rate} }}]\ntimeout_ms = 15000")
    path = f"{server.folder}/plan.toml"
    with open(path, "w") as file:
        file.write("\n".join(plan))
    return subprocess.Popen([load, path, "--json"], stdout=subprocess.PIPE, text=True)


def new_job(queue):
    return json.dumps({"kind": "nothing", "queue": queue, "max_attempts": 1, "reason": "a measurement"})


def classes(rate):
    # What is enqueued here is for another queue, which is paused: the jobs that are timed are always the same.
    return [
        ("GET jobs", "GET /api/v1/jobs?limit=50", "", rate * 0.9),
        ("POST jobs", "POST /api/v1/jobs", new_job("aside"), rate * 0.1),
    ]


def fill(server, load, count):
    server.pause("default")
    sent = requests(server, load, [("fill", "POST /api/v1/jobs", new_job("default"), 300)], count / 300)
    json.loads(sent.communicate()[0])
    return sum(server.ask("GET", "/api/v1/status")["jobs"][state] for state in ("pending", "waiting", "running"))


def empty(server, done):
    """Tells how many jobs a second come to their end."""
    before = server.jobs("completed")
    server.pause("default", "resume")
    since, marks = time.monotonic(), []
    while True:
        completed = server.jobs("completed") - before
        marks.append((time.monotonic() - since, completed))
        if completed >= done:
            return completed / marks[-1][0]
        if marks[-1][0] > 120:
            sys.exit(f"{completed} of {done} jobs were done in two minutes")
        time.sleep(0.1)


def told(name, sent):
    report = json.loads(sent.communicate()[0])
    failed = 0
    for one in report["classes"]:
        lost = one["offered"] - one["in_time"]
        failed += lost
        latency = one["latency"]
        print(f"| {name} | {one['name']} | {one['offered']} | {lost} | {latency['p50_ms']:.1f} ms | {latency['p99_ms']:.1f} ms |")
    return failed


def main():
    parser = argparse.ArgumentParser(prog="./api-load")
    parser.add_argument("steadfast")
    parser.add_argument("load")
    parser.add_argument("--jobs", type=int, default=3_000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steadfast-api-load-") as folder:
        server = Server(options.steadfast, folder)
        try:
            server.pause("aside")
            play(server, options)
        finally:
            code = server.end()
        if code != 0:
            sys.exit(f"the server ended with {code}")


def play(server, options):
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    print(f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, SQLite, 4 jobs at once, {options.rate:.0f} requests a second\n")
    print("| | request | sent | failed | p50 | p99 |\n|---|---|---|---|---|---|")
    failed = told("alone", requests(server, options.load, classes(options.rate), options.seconds))

    aside = server.jobs("pending") + server.jobs("waiting")
    alone_count = fill(server, options.load, options.jobs) - aside
    alone = empty(server, alone_count)

    aside = server.jobs("pending") + server.jobs("waiting")
    count = fill(server, options.load, options.jobs) - aside
    # For longer than the jobs take, whatever it costs them.
    flood = requests(server, options.load, classes(options.rate), min(2 * count / alone, 90))
    beside = empty(server, count)
    failed += told("beside jobs", flood)

    print(f"\njobs a second: {alone:.0f} alone, {beside:.0f} beside the requests: {100 * (1 - beside / alone):.0f} % fewer")
    if failed:
        sys.exit(f"{failed} requests failed")


main()
