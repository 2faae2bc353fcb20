"""What a program does with pg8000, as facts to read: PORT ROOT CERTIFICATE KEY. It has no way to cancel a statement."""

import hashlib
import io
import ssl
import sys

import pg8000.native

port, root, certificate, key = sys.argv[1:]


def connect(user="alice", with_certificate=True):
    context = ssl.create_default_context(cafile=root)
    if with_certificate:
        context.load_cert_chain(certificate, key)
    return pg8000.native.Connection(user, host="localhost", port=int(port), database="postgres", ssl_context=context)


connection = connect()
print("user=" + connection.run("select session_user")[0][0])

[(text, length, number, null)] = connection.run(
    "select cast(:text as text), length(:text), cast(:number as bigint) + 1, cast(:null as text) is null",
    text="it's \"Grüße\", 世界 🐘",
    number=2147483647,
    null=None,
)
print(f"parameters={text} {length} {number} {str(null).lower()}")

rows, size, digest = 0, 0, hashlib.sha256()
for _, value in connection.run("select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i"):
    rows, size = rows + 1, size + len(value)
    digest.update(value.encode())
print(f"big={rows} {size} {digest.hexdigest()}")

connection.run("create temporary table copied (id int, text text)")
lines = io.BytesIO(b"".join(b"%d\tnumber %d\n" % (i, i) for i in range(1, 100001)))
connection.run("copy copied from stdin", stream=lines)
print("copy_in={} {}".format(*connection.run("select count(*), sum(id) from copied")[0]))
out = io.BytesIO()
connection.run("copy copied to stdout", stream=out)
print(f"copy_out={hashlib.sha256(out.getvalue()).hexdigest()}")

for name, attempt in (("wrong_role", {"user": "bob"}), ("no_certificate", {"with_certificate": False})):
    try:
        connect(**attempt)
    except pg8000.native.DatabaseError as error:
        print(f"{name}={error.args[0]['C']} {error.args[0]['M']}")
