"""What a program does with psycopg, as facts to read: PORT ROOT CERTIFICATE KEY [MORE OF THE CONNECTION STRING]."""

import hashlib
import sys
import threading
import time

import psycopg

port, root, certificate, key, *more = sys.argv[1:]
server = f"host=localhost port={port} dbname=postgres sslmode=verify-full sslrootcert={root} {' '.join(more)}"
alice = f"{server} user=alice sslcert={certificate} sslkey={key}"

connection = psycopg.connect(alice, autocommit=True)
version = connection.pgconn.full_protocol_version
print(f"protocol={version // 10000}.{version % 10000}")
print("user=" + connection.execute("select session_user").fetchone()[0])

parameters = ("it's \"Grüße\", 世界 🐘", 2147483647, None)
text, length, number, null = connection.execute(
    "select %s::text, length(%s::text), %s::bigint + 1, %s::text is null", (parameters[0], *parameters)
).fetchone()
print(f"parameters={text} {length} {number} {str(null).lower()}")

rows, size, digest = 0, 0, hashlib.sha256()
with connection.cursor(binary=True) as cursor:
    for _, value in cursor.execute("select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i"):
        rows, size = rows + 1, size + len(value)
        digest.update(value.encode())
print(f"big={rows} {size} {digest.hexdigest()}")

connection.execute("create temporary table copied (id int, text text)")
with connection.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
    for i in range(1, 100001):
        copy.write_row((i, f"number {i}"))
print("copy_in={} {}".format(*connection.execute("select count(*), sum(id) from copied").fetchone()))
digest = hashlib.sha256()
with connection.cursor() as cursor, cursor.copy("copy copied to stdout") as copy:
    for data in copy:
        digest.update(data)
print(f"copy_out={digest.hexdigest()}")


def when_asleep(act):
    with psycopg.connect(alice, autocommit=True) as watcher:
        asleep = "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        while not watcher.execute(asleep, [connection.info.backend_pid]).fetchone():
            pass
    global asked
    asked = time.monotonic()
    act()


# The one in the clear, as every libpq up to 16 sends it, the other as encrypted as its session.
for name in ("cancel", "cancel_safe"):
    thread = threading.Thread(target=when_asleep, args=[getattr(connection, name)])
    thread.start()
    try:
        connection.execute("select pg_sleep(30)")
    except psycopg.Error as error:
        print(f"{name}={error.sqlstate}")
        print(f"{name}_ms={(time.monotonic() - asked) * 1000:.0f}")
    thread.join()
print(f"after={connection.execute('select 1').fetchone()[0]}")


def refusal(conninfo):
    try:
        psycopg.connect(conninfo)
    except psycopg.OperationalError as error:
        return str(error).replace("\n", " ")


print("wrong_role=" + refusal(alice.replace("user=alice", "user=bob")))
print("no_certificate=" + refusal(f"{server} user=alice"))
