# SPDX-License-Identifier: Apache-2.0
"""The load of the benchmark `serve`.

load.py closed URL RECORDS CONCURRENCY OUT OTHERS PID: after the first pairs of OTHERS, which are not counted, every record once, so
many at a time; writes the rewards to OUT, prints seconds and processor seconds of the server PID.
load.py open URL RECORDS RATE SECONDS: records again and again at a steady rate whatever the server does, each time with another
question; prints JSON of what came of it."""
import asyncio
import base64
import json
import os
import pathlib
import sys
import time

import aiohttp

mode, url, file = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])


def body_of(record, extra=""):
    images = [base64.b64encode((file.parent / name).read_bytes()).decode() for name in record["images"]]
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + image}} for image in images]
    content.append({"type": "text", "text": record["question"] + extra})
    return json.dumps({"messages": [{"role": "user", "content": content}], "candidates": record["answers"]}).encode()


def read(name):
    return [json.loads(line) for line in open(name)]


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


records = read(file)
HEADERS = {"Content-Type": "application/json"}


async def answers_of(session, bodies, concurrency):
    rewards, todo = [None] * len(bodies), list(range(len(bodies)))

    async def client():
        while todo:
            at = todo.pop(0)
            async with session.post(url + "/v1/rewards", data=bodies[at], headers=HEADERS) as reply:
                assert reply.status == 200, (reply.status, await reply.text())
                rewards[at] = [entry["reward"] for entry in (await reply.json())["data"]]

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return rewards


async def closed(session, concurrency, out, others, pid):
    # Other pictures and words, so that the server is warm and remembers nothing of what is measured.
    await answers_of(session, [body_of(record | {"answers": record["answers"][:2]}) for record in read(others)], concurrency)
    bodies, processor, begin = [body_of(record) for record in records], processor_seconds(pid), time.perf_counter()
    rewards = await answers_of(session, bodies, concurrency)
    print(time.perf_counter() - begin, processor_seconds(pid) - processor)
    json.dump(rewards, open(out, "w"))


async def open_loop(session, rate, seconds):
    taken, busy, other, retry_after = [], 0, [], []

    async def one(body):
        nonlocal busy
        begin = time.perf_counter()
        try:
            async with session.post(url + "/v1/rewards", data=body, headers=HEADERS) as reply:
                data = await reply.json()
                if reply.status == 200 and all(entry["status"] == "ok" for entry in data["data"]):
                    taken.append(time.perf_counter() - begin)
                elif reply.status == 429:
                    busy += 1
                    retry_after.append(int(reply.headers["Retry-After"]))
                else:
                    other.append(f"status {reply.status}: {data}")
        except Exception as error:  # lost: that is what is looked for
            other.append(repr(error))

    begin, tasks, sent = time.perf_counter(), [], 0
    while (now := time.perf_counter() - begin) < seconds:
        while sent < now * rate:
            tasks.append(asyncio.create_task(one(body_of(records[sent % len(records)], f" ({sent})"))))
            sent += 1
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    taken.sort()
    at = lambda share: taken[min(len(taken) - 1, int(share * len(taken)))] if taken else None
    print(json.dumps({"sent": sent, "ok": len(taken), "busy": busy, "lost": len(other), "why": other[:3], "seconds": seconds,
                      "p50": at(0.5), "p99": at(0.99), "max": at(1), "longest_retry_after": max(retry_after, default=0)}))


async def main():
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:
        if mode == "closed":
            await closed(session, int(sys.argv[4]), sys.argv[5], sys.argv[6], int(sys.argv[7]))
        else:
            await open_loop(session, float(sys.argv[4]), float(sys.argv[5]))


asyncio.run(main())
