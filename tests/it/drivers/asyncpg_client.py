"""What a program does with asyncpg, as facts to read: PORT ROOT CERTIFICATE KEY."""

import asyncio
import hashlib
import io
import ssl
import sys
import time

import asyncpg

port, root, certificate, key = sys.argv[1:]


def tls(with_certificate=True):
    context = ssl.create_default_context(cafile=root)
    if with_certificate:
        context.load_cert_chain(certificate, key)
    return context


async def connect(user="alice", context=None, **more):
    return await asyncpg.connect(host="localhost", port=int(port), user=user, database="postgres", ssl=context or tls(), **more)


async def main():
    connection = await connect()
    print("user=" + await connection.fetchval("select session_user"))

    text, length, number, null = await connection.fetchrow(
        "select $1::text, length($1::text), $2::bigint + 1, $3::text is null", "it's \"Grüße\", 世界 🐘", 2147483647, None
    )
    print(f"parameters={text} {length} {number} {str(null).lower()}")

    rows, size, digest = 0, 0, hashlib.sha256()
    async with connection.transaction():
        async for _, value in connection.cursor(
            "select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i", prefetch=5000
        ):
            rows, size = rows + 1, size + len(value)
            digest.update(value.encode())
    print(f"big={rows} {size} {digest.hexdigest()}")

    await connection.execute("create temporary table copied (id int, text text)")
    await connection.copy_records_to_table("copied", records=((i, f"number {i}") for i in range(1, 100001)))
    print("copy_in={} {}".format(*await connection.fetchrow("select count(*), sum(id) from copied")))
    out = io.BytesIO()
    await connection.copy_from_table("copied", output=out)
    print(f"copy_out={hashlib.sha256(out.getvalue()).hexdigest()}")

    # asyncpg keeps the server's words about a cancelled statement to itself: the server's log has them.
    sleeper = asyncio.create_task(connection.execute("select pg_sleep(30)"))
    watcher = await connect()
    asleep = "select 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'"
    while not await watcher.fetchval(asleep, connection.get_server_pid()):
        pass
    asked = time.monotonic()
    sleeper.cancel()
    try:
        await sleeper
    except asyncio.CancelledError:
        print("cancel=CancelledError")
    print(f"after={await connection.fetchval('select 1')}")
    print(f"cancel_ms={(time.monotonic() - asked) * 1000:.0f}")

    direct = tls()
    direct.set_alpn_protocols(["postgresql"])
    connection = await connect(context=direct, direct_tls=True)
    print("direct_tls=" + await connection.fetchval("select session_user"))

    for name, attempt in (("wrong_role", connect(user="bob")), ("no_certificate", connect(context=tls(False)))):
        try:
            await attempt
        except asyncpg.PostgresError as error:
            print(f"{name}={error.sqlstate} {error}")


asyncio.run(main())
