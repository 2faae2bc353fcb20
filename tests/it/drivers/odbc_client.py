"""What a program does with PostgreSQL's ODBC driver, as facts to read: DRIVER PORT ROOT CERTIFICATE KEY. ODBC has no COPY."""

import hashlib
import sys
import threading
import time

import pyodbc

driver, port, root, certificate, key = sys.argv[1:]


def connect(user="alice", files=f"sslcert={certificate} sslkey={key}"):
    return pyodbc.connect(
        f"Driver={driver};Server=localhost;Port={port};Database=postgres;Uid={user};"
        f"SSLmode=verify-full;pqopt={{sslrootcert={root} {files}}}",
        autocommit=True,
    )


connection = connect()
print("user=" + connection.execute("select session_user").fetchval())

parameters = ("it's \"Grüße\", 世界 🐘", 2147483647, None)
text, length, number, null = connection.execute(
    "select cast(? as text), length(cast(? as text)), cast(? as bigint) + 1, cast(? as text) is null",
    (parameters[0], *parameters),
).fetchone()
print(f"parameters={text} {length} {number} {str(null in (True, '1')).lower()}")

rows, size, digest = 0, 0, hashlib.sha256()
for _, value in connection.execute("select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i"):
    rows, size = rows + 1, size + len(value)
    digest.update(value.encode())
print(f"big={rows} {size} {digest.hexdigest()}")

cursor = connection.cursor()
backend = cursor.execute("select pg_backend_pid()").fetchval()


def cancel_when_asleep():
    watcher = connect()
    asleep = "select 1 from pg_stat_activity where pid = ? and wait_event = 'PgSleep'"
    while not watcher.execute(asleep, backend).fetchone():
        pass
    global asked
    asked = time.monotonic()
    cursor.cancel()


thread = threading.Thread(target=cancel_when_asleep)
thread.start()
try:
    cursor.execute("select pg_sleep(30)")
except pyodbc.Error as error:
    print(f"cancel={error.args[1]}".replace("\n", " "))
    print(f"cancel_ms={(time.monotonic() - asked) * 1000:.0f}")
thread.join()
print(f"after={connection.execute('select 1').fetchval()}")

# Without these two libpq would look for a certificate in the home folder.
nowhere = "sslcert=/nonexistent/certificate sslkey=/nonexistent/key"
for name, attempt in (("wrong_role", {"user": "bob"}), ("no_certificate", {"files": nowhere})):
    try:
        connect(**attempt)
    except pyodbc.Error as error:
        print(f"{name}={error.args[1]}".replace("\n", " "))
