//! What a program does with tokio-postgres and rustls, as facts to read. It is linked into the tests: it is Rust as they are.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _, stream};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::sha256;
use crate::harness::pki::CredentialFiles;

pub async fn run(port: u16, root: &Path, files: &CredentialFiles) -> String {
    let mut facts = String::new();
    let mut say = |name: &str, fact: &dyn std::fmt::Display| writeln!(facts, "{name}={fact}").unwrap();
    let hers = MakeRustlsConnect::new(tls(root, Some(files)));
    let mut client = connect(&config(port, "alice"), &hers).await.unwrap();

    say("user", &client.query_one("select session_user::text", &[]).await.unwrap().get::<_, String>(0));

    let parameters = "select $1::text, length($1::text), $2::bigint + 1, $3::text is null";
    let row = client.query_one(parameters, &[&"it's \"Grüße\", 世界 🐘", &2_147_483_647i64, &None::<&str>]).await.unwrap();
    let (text, length, number, null): (&str, i32, i64, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    say("parameters", &format!("{text} {length} {number} {null}"));

    say("big", &big(&client).await);

    client.batch_execute("create temporary table copied (id int, text text)").await.unwrap();
    say("copy_in", &copy_in(&client).await);
    let copied: Vec<Bytes> = client.copy_out("copy copied to stdout").await.unwrap().try_collect().await.unwrap();
    say("copy_out", &sha256(&copied.concat()));

    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let token = client.cancel_token();
    let watcher = connect(&config(port, "alice"), &hers).await.unwrap();
    let cancel = async {
        let asleep = "select count(*) = 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
        while !watcher.query_one(asleep, &[&pid]).await.unwrap().get::<_, bool>(0) {}
        let asked = Instant::now();
        token.cancel_query(hers.clone()).await.unwrap();
        asked
    };
    let (outcome, asked) = tokio::join!(client.batch_execute("select pg_sleep(30)"), cancel);
    say("cancel", &outcome.unwrap_err().code().unwrap().code());
    say("cancel_ms", &asked.elapsed().as_millis());
    say("after", &client.transaction().await.unwrap().query_one("select 1", &[]).await.unwrap().get::<_, i32>(0));

    let mut direct = config(port, "alice");
    direct.ssl_negotiation(SslNegotiation::Direct);
    let mut with_alpn = tls(root, Some(files));
    with_alpn.alpn_protocols.push(b"postgresql".to_vec());
    let direct = connect(&direct, &MakeRustlsConnect::new(with_alpn)).await.unwrap();
    say("direct_tls", &direct.query_one("select session_user::text", &[]).await.unwrap().get::<_, String>(0));

    say("wrong_role", &refusal(connect(&config(port, "bob"), &hers).await));
    say("no_certificate", &refusal(connect(&config(port, "alice"), &MakeRustlsConnect::new(tls(root, None))).await));
    facts
}

fn config(port: u16, user: &str) -> Config {
    let mut config = Config::new();
    config.host("localhost").port(port).user(user).dbname("postgres").ssl_mode(SslMode::Require);
    config
}

fn tls(root: &Path, files: Option<&CredentialFiles>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let Some(files) = files else { return builder.with_no_client_auth() };
    let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    builder.with_client_auth_cert(chain, key).unwrap()
}

async fn connect(config: &Config, tls: &MakeRustlsConnect) -> Result<Client, Error> {
    let (client, connection) = config.connect(tls.clone()).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn big(client: &Client) -> String {
    let (mut count, mut size, mut digest) = (0, 0, Context::new(&SHA256));
    let sql = "select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i";
    let mut rows = std::pin::pin!(client.query_raw(sql, Vec::<i32>::new()).await.unwrap());
    while let Some(row) = rows.try_next().await.unwrap() {
        let value: &str = row.get(1);
        count += 1;
        size += value.len();
        digest.update(value.as_bytes());
    }
    let digest: String = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{count} {size} {digest}")
}

async fn copy_in(client: &Client) -> String {
    let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>("copy copied from stdin").await.unwrap());
    let lines = (1..=100_000).map(|i| Ok(Bytes::from(format!("{i}\tnumber {i}\n"))));
    sink.send_all(&mut stream::iter(lines)).await.unwrap();
    sink.finish().await.unwrap();
    let row = client.query_one("select count(*), sum(id) from copied", &[]).await.unwrap();
    format!("{} {}", row.get::<_, i64>(0), row.get::<_, i64>(1))
}

fn refusal(attempt: Result<Client, Error>) -> String {
    let Err(error) = attempt else { return "logged in".into() };
    error.as_db_error().map_or_else(|| error.to_string(), |refused| format!("{} {}", refused.code().code(), refused.message()))
}
