"""What httpx makes of a server: python3 client.py URL. Ends with an error that says what is wrong."""

import asyncio
import os
import sys

import httpx

URL = sys.argv[1]


async def main():
    async with httpx.AsyncClient(base_url=URL, http1=URL.startswith("https"), http2=True, verify=False) as client:
        answer = await client.get("/plaintext")
        assert (answer.http_version, answer.text) == ("HTTP/2", "Hello, World!"), answer
        assert (await client.head("/plaintext")).headers["content-length"] == "13"
        content = os.urandom(1 << 20)
        assert (await client.post("/echo", content=content)).content == content
        assert (await client.post("/ndjson", content=b"[1]\n" * 100_000)).json()["lines"] == 100_000
        users = await asyncio.gather(*[client.get(f"/users/{user}") for user in range(300)])
        assert [user.json()["user_id"] for user in users] == [str(user) for user in range(300)]
        async with client.stream("GET", "/sheep?n=5&every=20ms") as answer:
            assert "".join([piece async for piece in answer.aiter_text()]) == "0\n1\n2\n3\n4\n"
        for path, status in [("/trailers", 200), ("/hints", 200), ("/nowhere", 404), ("/folder", 301)]:
            assert (await client.get(path)).status_code == status, path
        assert (await client.post("/users", json={"a": 1})).json() == {"received": {"a": 1}}
        assert len((await client.get("/bytes/3000000")).content) == 3_000_000
        coded = await client.get("/app.js", headers={"accept-encoding": "gzip"})
        assert coded.headers["content-encoding"] == "gzip" and coded.text.startswith("export const"), coded.headers


asyncio.run(main())
