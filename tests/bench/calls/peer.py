# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmark `calls`: peer.py aiohttp|openai|aiohttp_image URL COUNT IN_FLIGHT prints
"SIDE rate=... cpu_us=...". Same bodies as ours; answers are parsed, and must be what the endpoint says."""
import asyncio
import base64
import json
import os
import resource
import sys
import time

side, url, count, in_flight = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
EXPECTED = "The second response is better"


def text_of(number):
    text = f"Question {number}: "
    while len(text) < 1500:
        text += "Which of the two responses describes the picture more faithfully? "
    return text


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime


async def in_turn(ask, numbers):
    """`in_flight` workers take the numbers one by one."""
    numbers = iter(numbers)

    async def worker():
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(worker() for _ in range(in_flight)))


async def with_aiohttp(images):
    import aiohttp
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        async def ask(number):
            content = text_of(number)
            if images:
                encoded = base64.b64encode(images[number]).decode()
                content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + encoded}},
                           {"type": "text", "text": content}]
            body = {"model": "mock", "messages": [{"role": "user", "content": content}], "max_completion_tokens": 256}
            async with session.post(url + "/chat/completions", json=body) as answer:
                reply = await answer.json()
                assert answer.status == 200 and reply["choices"][0]["message"]["content"].startswith(EXPECTED)
        await measured(ask, 0 if images else 500)


async def with_openai():
    import openai
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def ask(number):
        reply = await client.chat.completions.create(
            model="mock", messages=[{"role": "user", "content": text_of(number)}], max_completion_tokens=256)
        assert reply.choices[0].message.content.startswith(EXPECTED)
    await measured(ask, 100)


async def measured(ask, warm):
    await in_turn(ask, range(-warm, 0))
    before, begin = cpu(), time.perf_counter()
    await in_turn(ask, range(count))
    seconds = time.perf_counter() - begin
    user, kernel = (1e6 * (now - then) / count for now, then in zip(cpu(), before))
    print(f"{side} rate={count / seconds:.0f} cpu_us={user + kernel:.1f} kernel_us={kernel:.1f} seconds={seconds:.3f}")


if side == "openai":
    asyncio.run(with_openai())
else:
    pictures = None
    if side == "aiohttp_image":
        pictures = [b"\x89PNG\r\n\x1a\n" + os.urandom(399992) for _ in range(count)]
    asyncio.run(with_aiohttp(pictures))
