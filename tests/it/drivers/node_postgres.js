// What a program does with node-postgres, as facts to read: PORT ROOT CERTIFICATE KEY.

const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const { Client, Query } = require("pg");
const copy = require("pg-copy-streams");

const [port, root, certificate, key] = process.argv.slice(2);

function settings(user, identity) {
  // Not `localhost`: which of its addresses node tries, and whether it tries a second one, depends on its version.
  const ssl = { ca: readFileSync(root), servername: "localhost", ...identity };
  return { host: "127.0.0.1", port: Number(port), database: "postgres", user, ssl };
}

const hers = { cert: readFileSync(certificate), key: readFileSync(key) };

async function connect(user = "alice", identity = hers) {
  const client = new Client(settings(user, identity));
  await client.connect();
  return client;
}

async function value(client, sql, parameters = []) {
  const { rows } = await client.query({ text: sql, values: parameters, rowMode: "array" });
  return rows[0];
}

async function main() {
  const client = await connect();
  console.log(`user=${await value(client, "select session_user")}`);

  const sql = "select $1::text, length($1::text), $2::bigint + 1, $3::text is null";
  const row = await value(client, sql, ["it's \"Grüße\", 世界 🐘", 2147483647, null]);
  console.log(`parameters=${row.join(" ")}`);

  let [rows, size, digest] = [0, 0, createHash("sha256")];
  const big = new Query("select i, repeat(lpad(i::text, 8, '0'), 128) as value from generate_series(1, 51200) i");
  await new Promise((resolve, reject) => {
    big.on("row", (row) => {
      rows += 1;
      size += row.value.length;
      digest.update(row.value);
    });
    big.on("end", resolve);
    big.on("error", reject);
    client.query(big);
  });
  console.log(`big=${rows} ${size} ${digest.digest("hex")}`);

  await client.query("create temporary table copied (id int, text text)");
  const lines = Array.from({ length: 100000 }, (_, i) => `${i + 1}\tnumber ${i + 1}\n`);
  await pipeline(Readable.from(lines), client.query(copy.from("copy copied from stdin")));
  console.log(`copy_in=${(await value(client, "select count(*), sum(id) from copied")).join(" ")}`);
  digest = createHash("sha256");
  await pipeline(client.query(copy.to("copy copied to stdout")), digest);
  console.log(`copy_out=${digest.digest("hex")}`);

  const watcher = await connect();
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  const sleeping = new Query("select pg_sleep(30)", (error) => finish(error));
  client.query(sleeping);
  const asleep = "select 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
  while (!(await value(watcher, asleep, [client.processID])));
  const asked = Date.now();
  new Client(settings("alice", hers)).cancel(client, sleeping);
  console.log(`cancel=${(await finished)?.code}`);
  console.log(`cancel_ms=${Date.now() - asked}`);
  console.log(`after=${await value(client, "select 1")}`);

  for (const [name, attempt] of [
    ["wrong_role", () => connect("bob")],
    ["no_certificate", () => connect("alice", {})],
  ]) {
    await attempt().catch((error) => console.log(`${name}=${error.code} ${error.message}`));
  }
  await Promise.all([client.end(), watcher.end()]);
}

main();
