//! The drop-in promise as one table: each row is sent to PostgreSQL's own `hostssl ... cert` and to Postern in front of
//! the same version, and both must answer alike. A row that differs says why, and what Postern answers instead.
//!
//! Compared are the moment, the TLS alert, severity, SQLSTATE and message, NegotiateProtocolVersion, and, for a login,
//! `current_user` and `session_user`. To read what PostgreSQL answers to every row:
//! `cargo test what_postgresql_answers -- --ignored --nocapture`.

mod random_rules;
mod rule_files;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::daemon::{Config, Daemon};
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::postgres::{Installation, Postgres};
use crate::harness::wire::{
    End, Message, TlsOptions, Wire, cancel_request, gssenc_request, message, old_client_hello, packet, ssl_request, startup,
    startup_of_version,
};

#[test]
fn postern_answers_as_debians_postgresql_does() {
    compare(&Installation::debian());
}

#[test]
fn postern_answers_as_postgresql_18_does() {
    compare(&Installation::eighteen());
}

#[test]
#[ignore = "prints PostgreSQL's own answers, for people; the comparison asks for them itself"]
fn what_postgresql_answers() {
    let pki = Pki::new();
    for installation in Installation::both() {
        for setup in Setup::ALL {
            let native = setup.native(&installation, &pki);
            for row in rows().iter().filter(|row| row.setup == setup) {
                println!("{} {setup:?} | {} | {}", installation.major, row.name, row.run(native.address(), &pki));
            }
        }
    }
}

fn compare(installation: &Installation) {
    let pki = Pki::new();
    let mut faults = String::new();
    for setup in Setup::ALL {
        let native = setup.native(installation, &pki);
        let isolated = Postgres::isolated(installation);
        isolated.sql(DATABASE);
        let postern = Daemon::start(&setup.config(&isolated, &pki));
        for row in rows().iter().filter(|row| row.setup == setup) {
            let (expected, found) = std::thread::scope(|scope| {
                let expected = scope.spawn(|| row.run(native.address(), &pki));
                let found = row.run(postern.address(), &pki);
                (expected.join().unwrap(), found)
            });
            row.judge(installation.major, &expected, &found, &mut faults);
        }
    }
    assert!(faults.is_empty(), "in front of PostgreSQL {} these rows are not as they should be:{faults}", installation.major);
}

/// One row: what a client does, and whether Postern's answer may differ.
#[derive(Debug)]
struct Row {
    name: &'static str,
    setup: Setup,
    client: Client,
    opening: Opening,
    /// What is sent once the opening is through.
    first: Vec<u8>,
    differences: Vec<Difference>,
}

/// A stated difference: why, and Postern's answer instead of PostgreSQL's.
#[derive(Debug)]
struct Difference {
    reason: &'static str,
    postern: String,
    /// It holds in front of versions before this one.
    before: u32,
    /// PostgreSQL's own answer hangs on chance or on how it was built, and can be Postern's.
    maybe: bool,
}

/// The servers' configurations: which rules, and whether CRLs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    /// `hostssl all all all cert`, no CRL.
    Plain,
    /// The same, and every authority needs a current CRL.
    Crl,
    /// Some databases, a rejected one, replication.
    Rules,
}

#[derive(Debug)]
enum Client {
    Without,
    Of(Profile),
    Named(&'static str),
}

/// How the connection begins. What can be bytes is bytes; the rest needs a TLS library at the right moment.
#[derive(Debug)]
enum Opening {
    /// SSLRequest, then TLS, perhaps with ALPN.
    Requested(&'static [&'static str]),
    /// TLS from the first byte, perhaps with ALPN.
    Direct(&'static [&'static str]),
    /// No TLS at all.
    Clear,
    /// These packets in the clear, each answered by one byte; then what the last answer allows.
    Asks(Vec<Vec<u8>>),
    /// Direct TLS, in which these packets are each answered by one byte.
    AsksInside(Vec<Vec<u8>>),
    /// These bytes in one segment with SSLRequest, ahead of the ClientHello.
    Stuffed(Vec<u8>),
    /// SSLRequest and ClientHello in one segment.
    Glued,
    /// SSLRequest byte by byte, each in its own segment.
    Split,
    /// SSLRequest, then these bytes where a ClientHello belongs.
    InsteadOfHello(Vec<u8>),
}

impl Setup {
    const ALL: [Self; 3] = [Self::Plain, Self::Crl, Self::Rules];

    fn native(self, installation: &Installation, pki: &Pki) -> Postgres {
        let server = Postgres::native(installation, pki, self == Self::Crl, self.pg_hba());
        server.sql(DATABASE);
        server
    }

    fn pg_hba(self) -> &'static str {
        match self {
            Self::Plain | Self::Crl => "hostssl all all all cert\n",
            Self::Rules => {
                "hostssl rejected all all reject\n\
                 hostssl app alice,ghost all cert\n\
                 hostssl alice all all cert\n\
                 hostssl nowhere all all cert\n\
                 hostssl replication walreceiver all cert\n\
                 hostssl replication bob all reject\n"
            }
        }
    }
}

impl Setup {
    fn config(self, isolated: &Postgres, pki: &Pki) -> Config {
        let config = Config::new(pki, isolated.dir.path(), isolated.port);
        match self {
            Self::Plain => config,
            Self::Crl => config.with_crl(),
            Self::Rules => config.with(
                "hba:
                  - { database: rejected, user: all, address: all, method: reject }
                  - { database: app, user: [alice, ghost], address: all, method: cert }
                  - { database: alice, user: all, address: all, method: cert }
                  - { database: nowhere, user: all, address: all, method: cert }
                  - { database: replication, user: walreceiver, address: all, method: cert }
                  - { database: replication, user: bob, address: all, method: reject }",
            ),
        }
    }
}

/// What both databases hold.
const DATABASE: &str = "
    create role alice login; create role bob login; create role nologin nologin; create role walreceiver login replication;
    create role \"ålice\" login; create role \"ALICE\" login; create role \"alice \" login; create role \"o'alice \"\"x\"\", CN=bob\" login;
    create role \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" login;
    create role limited login connection limit 0; create role expired login valid until '2001-01-01';
    create database app; create database rejected; create database alice; create database locked;
    revoke connect on database locked from public;";

impl Row {
    fn judge(&self, major: u32, native: &str, postern: &str, faults: &mut String) {
        let difference = self.differences.iter().find(|difference| major < difference.before);
        let fault = match difference {
            None if alike(native, postern) => return,
            None => format!("PostgreSQL: {native}\n    Postern:    {postern}"),
            Some(stated) if !alike(&stated.postern, postern) => {
                format!("stated:     {}\n    Postern:    {postern}\n    PostgreSQL: {native}", stated.postern)
            }
            Some(stated) if native == postern && !stated.maybe => {
                format!("no longer differs, though {}: {native}", stated.reason)
            }
            Some(_) => return,
        };
        write!(faults, "\n  {:?}, {}\n    {fault}", self.setup, self.name).unwrap();
    }

    fn run(&self, server: SocketAddr, pki: &Pki) -> String {
        let credentials = match self.client {
            Client::Without => None,
            Client::Of(profile) => Some(pki.client(profile)),
            Client::Named(name) => Some(pki.named(name)),
        };
        let mut wire = Wire::connect(server);
        wire.set_patience(Duration::from_secs(5));
        match self.open(&mut wire, credentials) {
            Ok(moment) => converse(&mut wire, moment, &self.first),
            Err(answer) => answer,
        }
    }

    fn open(&self, wire: &mut Wire, credentials: Option<Credentials>) -> Result<&'static str, String> {
        let tls = |alpn: &[&str]| alpn.iter().fold(TlsOptions::with(credentials.clone()), |options, protocol| options.alpn(protocol));
        match &self.opening {
            Opening::Clear => return Ok("before TLS"),
            Opening::Direct(alpn) => handshake(wire, &tls(alpn))?,
            Opening::Requested(alpn) => {
                ask(wire, &[ssl_request()])?;
                handshake(wire, &tls(alpn))?;
            }
            Opening::Asks(packets) => {
                if !ask(wire, packets)? {
                    return Ok("before TLS, declined");
                }
                handshake(wire, &tls(&[]))?;
            }
            Opening::AsksInside(packets) => {
                handshake(wire, &tls(&["postgresql"]))?;
                ask(wire, packets)?;
            }
            Opening::Stuffed(bytes) => {
                ask(wire, &[[ssl_request(), bytes.clone()].concat()])?;
                handshake(wire, &tls(&[]))?;
            }
            Opening::Glued => {
                let mut connection = tls(&[]).connection();
                let mut hello = Vec::new();
                connection.write_tls(&mut hello).unwrap();
                ask(wire, &[[ssl_request(), hello].concat()])?;
                wire.start_tls_with(connection).map_err(|end| format!("in handshake: {end}"))?;
            }
            Opening::Split => {
                ssl_request().iter().for_each(|byte| wire.send(&[*byte]));
                ask(wire, &[vec![]])?;
                handshake(wire, &tls(&[]))?;
            }
            Opening::InsteadOfHello(bytes) => {
                ask(wire, &[ssl_request()])?;
                wire.send(bytes);
                return Err(format!("in handshake: {}", last_words(wire)));
            }
        }
        Ok("after StartupMessage")
    }
}

/// Equal, but for a HINT where PostgreSQL has none.
fn alike(native: &str, postern: &str) -> bool {
    native == postern || (!native.contains(HINT) && postern.split(HINT).next() == Some(native))
}

const HINT: &str = " HINT ";

/// Sends packets that are answered by one byte: whether the last answer was yes.
fn ask(wire: &mut Wire, packets: &[Vec<u8>]) -> Result<bool, String> {
    let mut answers = String::new();
    for packet in packets {
        wire.send(packet);
        match wire.peek(1) {
            b"S" | b"N" => answers.push(wire.read_exactly(1).unwrap()[0] as char),
            b"G" => return Err("before TLS: accepts GSSAPI".into()),
            _ => return Err(format!("before TLS: {answers} {}", last_words(wire))),
        }
    }
    Ok(answers.ends_with('S'))
}

fn handshake(wire: &mut Wire, options: &TlsOptions) -> Result<(), String> {
    wire.start_tls(options).map_err(|end| format!("in handshake: {end}"))
}

/// Sends the first packet and follows the login to its end.
fn converse(wire: &mut Wire, moment: &str, first: &[u8]) -> String {
    wire.send(first);
    let mut moment = moment;
    let mut notes = String::new();
    loop {
        if !is_a_message(wire.peek(5)) {
            return match last_words(wire) {
                // With TLS 1.3 a client learns what became of its certificate only when it reads.
                alert if alert.starts_with("alert") => format!("in handshake: {alert}"),
                words => format!("{notes}{moment}: {words}"),
            };
        }
        let message = wire.read_message().unwrap();
        match message.kind {
            b'E' => return format!("{notes}{moment}: {}", last_words_after(&message, wire)),
            b'v' => write!(notes, "{}, ", negotiated(&message)).unwrap(),
            b'R' if message.body == [0; 4] => moment = "after AuthenticationOk",
            b'R' => {
                return format!("{notes}{moment}: asks for authentication {:?}", message.body);
            }
            b'K' => write!(notes, "{}-byte key, ", message.body.len() - 4).unwrap(),
            b'Z' => return format!("{notes}{}", who_is_in(wire)),
            _ => {}
        }
    }
}

fn is_a_message(head: &[u8]) -> bool {
    matches!(head, [b'E' | b'N' | b'R' | b'S' | b'K' | b'Z' | b'v', 0, ..]) && head.len() == 5
}

/// What a server says when it says no more: an error, bytes that are no message, nothing; and how it leaves.
fn last_words(wire: &mut Wire) -> String {
    match wire.peek(5) {
        [0x15, 0x03, ..] => match wire.peek(7) {
            [.., description] => End::ClearAlert(*description).to_string(),
            [] => unreachable!("five bytes were there"),
        },
        head if is_a_message(head) => {
            let message = wire.read_message().unwrap();
            last_words_after(&message, wire)
        }
        _ => match wire.read_to_end() {
            (rest, end) if rest.is_empty() => end.to_string(),
            (rest, end) => format!("{:?}, then {end}", String::from_utf8_lossy(&rest)),
        },
    }
}

/// An ErrorResponse, and what is wrong with the way the connection ended after it.
fn last_words_after(error: &Message, wire: &mut Wire) -> String {
    let fields = error.fields();
    let hint = fields.hint.as_ref().map(|hint| format!("{HINT}{hint}")).unwrap_or_default();
    match wire.read_to_end() {
        (rest, end) if rest.is_empty() && end.is_orderly() => format!("{fields}{hint}"),
        (rest, end) => format!("{fields}{hint}, then {} bytes and {end}", rest.len()),
    }
}

fn negotiated(message: &Message) -> String {
    let number = |at: usize| u32::from_be_bytes(message.body[at..at + 4].try_into().unwrap());
    let options: Vec<_> = message.body[8..].split(|b| *b == 0).filter(|name| !name.is_empty()).collect();
    let options: Vec<_> = options.into_iter().map(String::from_utf8_lossy).collect();
    // Before 18 this held the minor version alone.
    format!("negotiates 3.{} without [{}]", number(0) & 0xffff, options.join(" "))
}

/// After ReadyForQuery: the two users, or what a physical walsender says of itself.
fn who_is_in(wire: &mut Wire) -> String {
    wire.query("select current_user, session_user, current_database()");
    let answer = match wire.until_ready() {
        Ok(messages) => {
            let row = messages.iter().find(|message| message.is('D')).map(Message::columns).unwrap_or_default();
            let row: Vec<String> = row.into_iter().flatten().collect();
            format!("logged in: {}", row.join("/"))
        }
        Err(refusal) => {
            let ready = wire.until_ready().is_ok();
            format!("logged in, but: {refusal}{}", if ready { "" } else { ", and not ready" })
        }
    };
    wire.send(&message('X', b""));
    match wire.read_to_end() {
        (rest, End::Closed) if rest.is_empty() => answer,
        (rest, end) => format!("{answer}, and left with {} bytes and {end:?}", rest.len()),
    }
}

fn row(name: &'static str) -> Row {
    Row {
        name,
        setup: Setup::Plain,
        client: Client::Of(Profile::Good),
        opening: Opening::Requested(&[]),
        first: user("alice"),
        differences: vec![],
    }
}

fn user(name: &str) -> Vec<u8> {
    startup(&[("user", name), ("database", "postgres")])
}

impl Row {
    fn on(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self
    }

    fn without_certificate(mut self) -> Self {
        self.client = Client::Without;
        self
    }

    fn with(mut self, profile: Profile) -> Self {
        self.client = Client::Of(profile);
        self
    }

    fn named(mut self, common_name: &'static str) -> Self {
        self.client = Client::Named(common_name);
        self
    }

    fn opening(mut self, opening: Opening) -> Self {
        self.opening = opening;
        self
    }

    fn first(mut self, bytes: Vec<u8>) -> Self {
        self.first = bytes;
        self
    }

    fn user(self, name: &str) -> Self {
        let bytes = user(name);
        self.first(bytes)
    }

    fn says(self, parameters: &[(&str, &str)]) -> Self {
        let bytes = startup(parameters);
        self.first(bytes)
    }

    /// Postern answers this, whatever the version behind it.
    fn but(self, reason: &'static str, postern: impl Into<String>) -> Self {
        self.but_before(u32::MAX, reason, postern)
    }

    /// Postern answers this in front of versions before `major`; from there on both answer alike.
    fn but_before(mut self, before: u32, reason: &'static str, postern: impl Into<String>) -> Self {
        self.differences.push(Difference { before, reason, postern: postern.into(), maybe: false });
        self
    }

    /// Postern always answers this; PostgreSQL, it depends.
    fn always(mut self, reason: &'static str, postern: impl Into<String>) -> Self {
        self.differences.push(Difference { before: u32::MAX, reason, postern: postern.into(), maybe: true });
        self
    }
}

fn rows() -> Vec<Row> {
    [certificates(), revocation(), names(), rules(), negotiation(), packets(), requests()].into_iter().flatten().collect()
}

fn mismatch(user: &str) -> String {
    format!("after StartupMessage: FATAL 28000 certificate authentication failed for user \"{user}\"")
}

const NO_CERTIFICATE: &str = "after StartupMessage: FATAL 28000 connection requires a valid client certificate";
const SIGNATURE: &str = "an issuer whose key did not sign is an unknown one; OpenSSL tells it by a decrypt error";
const CONTROL: &str = "a name with control characters names nobody (T23)";

fn certificates() -> Vec<Row> {
    use Profile as P;
    vec![
        row("a good certificate"),
        row("no certificate").without_certificate(),
        row("no certificate, unknown role").without_certificate().user("nobody"),
        row("RSA").with(P::Rsa),
        row("P-384").with(P::P384),
        row("Ed25519").with(P::Ed25519),
        row("signed by an RSA root").with(P::ByRsaRoot),
        row("signed by a P-384 root").with(P::ByP384Root),
        row("RSA of 1024 bits")
            .with(P::Rsa1024)
            .always("keys below 2048 bits are refused; OpenSSL's security level decides elsewhere", "in handshake: alert DecryptError"),
        row("X.509 v1, P-256").with(P::V1),
        row("X.509 v1, RSA").with(P::V1Rsa),
        row("X.509 v1, RSA by RSA").with(P::V1ByRsaRoot),
        row("X.509 v1, expired").with(P::V1Expired),
        row("X.509 v1, another CA of the same name").with(P::V1OtherCaSameName).but(SIGNATURE, "in handshake: alert UnknownCA"),
        row("X.509 v1, by an intermediate")
            .with(P::V1ByIntermediate)
            .but("a v1 leaf must be signed by a root of the CA file", "in handshake: alert UnknownCA"),
        row("another CA of the same name").with(P::OtherCaSameName).but(SIGNATURE, "in handshake: alert UnknownCA"),
        row("self-signed").with(P::SelfSigned),
        row("expired").with(P::Expired),
        row("not yet valid").with(P::NotYetValid),
        row("EKU serverAuth only").with(P::EkuServerOnly),
        row("EKU serverAuth and clientAuth").with(P::EkuServerAndClient),
        row("no EKU").with(P::NoEku),
        row("keyUsage without digitalSignature").with(P::NoDigitalSignature),
        row("keyUsage keyAgreement only").with(P::KeyAgreementOnly),
        row("no keyUsage").with(P::NoKeyUsage),
        row("CA certificate as client")
            .with(P::CaAsClient)
            .but("a CA certificate is nobody's name (T25)", "in handshake: alert UnsupportedCertificate"),
        row("leaf as issuer").with(P::LeafAsIssuer).user("bob"),
        row("by an intermediate that is sent").with(P::ViaIntermediate),
        row("by an intermediate in the CA file").with(P::ViaIntermediateInFile),
        row("by an intermediate that is sent and in the CA file").with(P::ViaIntermediateInFileSent),
        row("by an intermediate that nobody has").with(P::ViaIntermediateMissing),
        row("by an intermediate in the CA file without its root").with(P::ViaOrphanIntermediate),
        row("path length exceeded").with(P::PathLengthExceeded),
        row("by a v1 intermediate").with(P::ViaV1Intermediate),
        row("by an expired intermediate").with(P::ViaExpiredIntermediate),
        row("by an expired root").with(P::ByExpiredRoot),
        row("by a root not yet valid").with(P::ByFutureRoot),
        row("by a v1 root").with(P::ByV1Root),
        row("X.509 v1, by a v1 root").with(P::V1ByV1Root),
        row("by a root without keyCertSign").with(P::ByRootWithoutCertSign),
        row("by a root without cRLSign, no CRL").with(P::ByRootWithoutCrlSign),
        row("revoked, but no CRL is configured").with(P::Revoked),
    ]
}

fn revocation() -> Vec<Row> {
    use Profile as P;
    [
        row("good").with(P::Good),
        row("no certificate").without_certificate(),
        row("revoked").with(P::Revoked),
        row("X.509 v1").with(P::V1),
        row("X.509 v1, revoked").with(P::V1Revoked),
        row("X.509 v1, by a v1 root").with(P::V1ByV1Root),
        row("expired").with(P::Expired),
        row("CRL out of date").with(P::ByRootWithStaleCrl),
        row("no CRL for the root").with(P::ByRootWithoutCrl),
        row("by an intermediate").with(P::ViaIntermediate),
        row("by an intermediate in the CA file").with(P::ViaIntermediateInFile),
        row("no CRL for the intermediate").with(P::ViaIntermediateWithoutCrl),
        row("intermediate revoked").with(P::ViaRevokedIntermediate),
        row("intermediate in the CA file revoked").with(P::ViaRevokedIntermediateInFile),
        row("CRL by a CA without cRLSign").with(P::ByRootWithoutCrlSign),
        row("v1 CRL").with(P::ByRootWithV1Crl),
        row("revoked by a v1 CRL").with(P::RevokedByV1Crl),
        row("another CA of the same name").with(P::OtherCaSameName).but(SIGNATURE, "in handshake: alert UnknownCA"),
    ]
    .into_iter()
    .map(|row| row.on(Setup::Crl))
    .collect()
}

fn names() -> Vec<Row> {
    use Profile as P;
    let a = |count| "a".repeat(count);
    vec![
        row("another role").user("bob"),
        row("another role, unknown").user("nobody"),
        row("role of that name is unknown").named("nobody").user("nobody"),
        row("role may not log in").named("nologin").user("nologin"),
        row("role over its connection limit").named("limited").user("limited"),
        row("role's password is out of date").named("expired").user("expired"),
        row("no CN").with(P::NoCn),
        row("empty CN").with(P::EmptyCn),
        row("two CNs, first asked for").with(P::TwoCns).but("two CNs are ambiguous", mismatch("alice")),
        row("two CNs, last asked for").with(P::TwoCns).user("bob"),
        row("X.509 v1, two CNs").with(P::V1TwoCns).but("two CNs are ambiguous", mismatch("alice")),
        row("CN behind O and OU").with(P::CnAndOtherAttributes),
        row("OU asked for").with(P::CnAndOtherAttributes).user("bob"),
        row("DNS name asked for").with(P::BobByDnsName).user("bob"),
        row("UTF-8 CN").with(P::Utf8Cn).user("ålice"),
        row("CN of invalid UTF-8")
            .with(P::InvalidUtf8Cn)
            .first(packet(3 << 16, b"user\0al\xffice\0database\0postgres\0\0"))
            .but("the certificate can be read, only its name cannot be used (T23)", mismatch("al\u{fffd}ice")),
        row("CN of 63 bytes").with(P::Cn63).user(&a(63)),
        row("CN of 63 bytes, 64 asked for").with(P::Cn63).user(&a(64)),
        row("CN of 64 bytes").with(P::Cn64).user(&a(64)),
        row("CN of 64 bytes, 63 asked for").with(P::Cn64).user(&a(63)),
        row("CN of 80 bytes").with(P::Cn80).user(&a(80)),
        row("NUL in CN").with(P::NulInCn),
        row("NUL in O")
            .with(P::NulInOrganization)
            .but("a NUL anywhere in the subject is answered as one in the CN", "after StartupMessage: closed"),
        row("ESC in CN").with(P::EscInCn).user("al\x1b[31mice").but(CONTROL, mismatch("al\x1b[31mice")),
        row("newline in CN").with(P::NewlineInCn).user("alice\nbob").but(CONTROL, mismatch("alice\nbob")),
        row("newline in CN, first line asked for").with(P::NewlineInCn),
        row("newline and ESC in O").with(P::NewlineInOrganization),
        row("upper case CN, lower asked for").with(P::UpperCaseCn),
        row("upper case CN").with(P::UpperCaseCn).user("ALICE"),
        row("upper case asked for").user("ALICE"),
        row("trailing space in CN").with(P::TrailingSpaceCn),
        row("trailing space in CN, asked for").with(P::TrailingSpaceCn).user("alice "),
        row("trailing space asked for").user("alice "),
        row("spaces and quotes in CN").with(P::QuotedCn).user("o'alice \"x\", CN=bob"),
        row("CN as BMPString").with(P::BmpCn),
        row("CN as T61String").with(P::T61Cn).but("only unambiguous string types name a role", mismatch("alice")),
        row("CN as PrintableString").with(P::PrintableCn),
        row("CN as IA5String").with(P::Ia5Cn),
    ]
}

fn rules() -> Vec<Row> {
    let at = |database: &'static str| move |row: Row| row.says(&[("user", "alice"), ("database", database)]);
    [
        at("app")(row("a rule's database")),
        at("rejected")(row("a rejected database")),
        at("rejected")(row("a rejected database, no certificate").without_certificate()),
        at("postgres")(row("no rule for the database")),
        at("postgres")(row("no rule for the database, no certificate").without_certificate()),
        row("no rule for the role").named("bob").says(&[("user", "bob"), ("database", "app")]),
        row("a rule for the role, another name").says(&[("user", "ghost"), ("database", "app")]),
        row("a rule for an unknown role").named("ghost").says(&[("user", "ghost"), ("database", "app")]),
        at("nowhere")(row("a rule for an unknown database")),
        at("missing")(row("an unknown database without a rule")),
        row("database absent, a rule for what it defaults to").says(&[("user", "alice")]),
        at("alice")(row("a rule for the database of that name")),
        row("database absent, another name").named("bob").says(&[("user", "alice")]),
        row("physical replication").named("walreceiver").says(&[("user", "walreceiver"), ("replication", "true")]),
        row("physical replication as `on`").named("walreceiver").says(&[("user", "walreceiver"), ("replication", "on")]),
        row("physical replication as `1`").named("walreceiver").says(&[("user", "walreceiver"), ("replication", "1")]),
        row("physical replication as `YES`").named("walreceiver").says(&[("user", "walreceiver"), ("replication", "YES")]),
        row("physical replication as `tr`").named("walreceiver").says(&[("user", "walreceiver"), ("replication", "tr")]),
        row("physical replication names a database").named("walreceiver").says(&[
            ("user", "walreceiver"),
            ("database", "rejected"),
            ("replication", "true"),
        ]),
        row("physical replication, no rule").says(&[("user", "alice"), ("replication", "true")]),
        row("physical replication, rejected").named("bob").says(&[("user", "bob"), ("replication", "true")]),
        row("physical replication, no certificate").without_certificate().says(&[("user", "walreceiver"), ("replication", "true")]),
        row("physical replication, another name").says(&[("user", "walreceiver"), ("replication", "true")]),
        row("logical replication").says(&[("user", "alice"), ("database", "app"), ("replication", "database")]),
        row("logical replication, no rule").says(&[("user", "alice"), ("database", "postgres"), ("replication", "database")]),
        row("replication is off").says(&[("user", "alice"), ("database", "app"), ("replication", "off")]),
        row("replication is empty").says(&[("user", "alice"), ("database", "app"), ("replication", "")]),
        row("replication is junk").says(&[("user", "alice"), ("database", "app"), ("replication", "junk")]),
        row("replication is junk, no certificate").without_certificate().says(&[
            ("user", "alice"),
            ("database", "app"),
            ("replication", "junk"),
        ]),
        at("app")(row("in the clear").opening(Opening::Clear)),
        at("rejected")(row("a rejected database, in the clear").opening(Opening::Clear)),
        row("physical replication in the clear").opening(Opening::Clear).says(&[("user", "walreceiver"), ("replication", "true")]),
        row("logical replication in the clear").opening(Opening::Clear).says(&[
            ("user", "alice"),
            ("database", "app"),
            ("replication", "database"),
        ]),
    ]
    .into_iter()
    .map(|row| row.on(Setup::Rules))
    .collect()
}

const GSS: &str = "Postern has no GSSAPI, whatever the server behind it was built with";
const DIRECT: &str = "Postern serves direct TLS in front of every version";
const LOGIN: &str = "4-byte key, logged in: alice/alice/postgres";
const NO_ENTRY: &str = "FATAL 28000 no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\", database \"postgres\", no encryption";
const NOT_TLS: &str = "what is no ClientHello gets an alert; OpenSSL's goodbye is lost to a reset or never said (T05)";
const NOT_TLS_ALERT: &str = "in handshake: alert DecodeError";
const STUFFED: &str = "bytes sent ahead of TLS are TLS input and nothing else (CVE-2021-23214)";

fn negotiation() -> Vec<Row> {
    use Opening::{Asks, AsksInside, Clear, Direct, Glued, InsteadOfHello, Requested, Split, Stuffed};
    let gssenc = gssenc_request;
    vec![
        row("ALPN postgresql after SSLRequest").opening(Requested(&["postgresql"])),
        row("ALPN http/1.1 after SSLRequest").opening(Requested(&["http/1.1"])).but_before(
            17,
            "before 17 PostgreSQL knows no ALPN (T08)",
            "in handshake: alert NoApplicationProtocol",
        ),
        row("ALPN h2 and postgresql after SSLRequest").opening(Requested(&["h2", "postgresql"])),
        row("direct TLS").opening(Direct(&["postgresql"])).but_before(17, DIRECT, LOGIN),
        row("direct TLS without ALPN").opening(Direct(&[])).but_before(17, DIRECT, "after StartupMessage: closed"),
        row("direct TLS, ALPN h2").opening(Direct(&["h2"])).but_before(17, DIRECT, "in handshake: alert NoApplicationProtocol"),
        row("direct TLS, no certificate").opening(Direct(&["postgresql"])).without_certificate().but_before(17, DIRECT, NO_CERTIFICATE),
        row("direct TLS, expired certificate").opening(Direct(&["postgresql"])).with(Profile::Expired).but_before(
            17,
            DIRECT,
            "in handshake: alert CertificateExpired",
        ),
        row("GSSENCRequest, then a StartupMessage").opening(Asks(vec![gssenc()])).always(GSS, format!("before TLS, declined: {NO_ENTRY}")),
        row("GSSENCRequest, then a CancelRequest")
            .opening(Asks(vec![gssenc()]))
            .first(cancel_request(1, &[7; 4]))
            .always(GSS, "before TLS, declined: closed"),
        row("GSSENCRequest, then SSLRequest").opening(Asks(vec![gssenc(), ssl_request()])).always(GSS, LOGIN),
        row("GSSENCRequest twice")
            .opening(Asks(vec![gssenc(), gssenc()]))
            .always(GSS, format!("before TLS: N {}", unsupported("1234.5680"))),
        row("GSSENCRequest and SSLRequest in one segment")
            .opening(Asks(vec![[gssenc(), ssl_request()].concat(), vec![]]))
            .but("after its N Postern reads eight bytes, whenever they came (T03)", LOGIN),
        row("SSLRequest twice before TLS").opening(InsteadOfHello(ssl_request())).always(NOT_TLS, NOT_TLS_ALERT),
        row("GSSENCRequest after SSLRequest").opening(InsteadOfHello(gssenc())).always(NOT_TLS, NOT_TLS_ALERT),
        row("StartupMessage instead of ClientHello").opening(InsteadOfHello(user("alice"))).always(NOT_TLS, NOT_TLS_ALERT),
        row("HTTP instead of ClientHello")
            .opening(InsteadOfHello(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()))
            .always(NOT_TLS, NOT_TLS_ALERT),
        row("TLS 1.2 after SSLRequest").opening(InsteadOfHello(old_client_hello(0x0303))),
        row("TLS 1.1 after SSLRequest").opening(InsteadOfHello(old_client_hello(0x0302))),
        row("TLS 1.0 after SSLRequest").opening(InsteadOfHello(old_client_hello(0x0301))),
        row("direct TLS 1.2").opening(Clear).first(old_client_hello(0x0303)).but_before(17, DIRECT, "in handshake: alert ProtocolVersion"),
        row("SSLRequest inside TLS").first(ssl_request()).but_before(18, VERSIONS, inside_tls("1234.5679")),
        row("GSSENCRequest inside TLS").first(gssenc()).but_before(18, VERSIONS, inside_tls("1234.5680")),
        row("SSLRequest inside TLS, no certificate").without_certificate().first(ssl_request()).but_before(
            18,
            VERSIONS,
            inside_tls("1234.5679"),
        ),
        row("SSLRequest inside direct TLS").opening(AsksInside(vec![ssl_request()])).but_before(17, DIRECT, LOGIN),
        row("GSSENCRequest inside direct TLS").opening(AsksInside(vec![gssenc()])).but_before(17, DIRECT, LOGIN),
        row("both requests inside direct TLS").opening(AsksInside(vec![gssenc(), ssl_request()])).but_before(17, DIRECT, LOGIN),
        row("SSLRequest twice inside direct TLS")
            .opening(AsksInside(vec![ssl_request()]))
            .first(ssl_request())
            .but_before(17, DIRECT, inside_tls("1234.5679"))
            .but_before(18, VERSIONS, inside_tls("1234.5679")),
        row("ClientHello glued to SSLRequest").opening(Glued).but_before(17, "PostgreSQL 17 and newer serve it", LOGIN),
        row("SSLRequest byte by byte").opening(Split),
        row("one byte behind SSLRequest").opening(Stuffed(vec![0])).always(STUFFED, NOT_TLS_ALERT),
        row("StartupMessage behind SSLRequest").opening(Stuffed(user("bob"))).always(STUFFED, NOT_TLS_ALERT),
        row("Query behind SSLRequest").opening(Stuffed(message('Q', b"select 1\0"))).always(STUFFED, NOT_TLS_ALERT),
        row("GSSENCRequest behind SSLRequest").opening(Stuffed(gssenc())).always(STUFFED, NOT_TLS_ALERT),
        row("SSLRequest of length 12").opening(Asks(vec![packet(80_877_103, &[0; 4])])),
    ]
}

const VERSIONS: &str = "Postern names the versions it serves, not those of the server behind it";

fn unsupported(version: &str) -> String {
    format!("FATAL 0A000 unsupported frontend protocol {version}: server supports 3.0 to 3.2")
}

fn inside_tls(version: &str) -> String {
    format!("after StartupMessage: {}", unsupported(version))
}

fn before_tls(version: &str) -> String {
    format!("before TLS: {}", unsupported(version))
}

/// In the format of protocol 2, which such a client reads.
fn unsupported_in_old_format(version: &str) -> String {
    format!("{:?}, then closed", format!("EFATAL:  unsupported frontend protocol {version}: server supports 3.0 to 3.2\n\0"))
}

fn packets() -> Vec<Row> {
    let alice = [("user", "alice"), ("database", "postgres")];
    let raw = |bytes: &[u8]| packet(3 << 16, bytes);
    let length = |length: u32| [&length.to_be_bytes()[..], &(3u32 << 16).to_be_bytes(), &[b'x'; 32]].concat();
    let long = |bytes: usize| {
        let fixed = startup(&[("user", "alice"), ("database", "postgres"), ("application_name", "")]).len();
        startup(&[("user", "alice"), ("database", "postgres"), ("application_name", &"x".repeat(bytes - fixed))])
    };
    let mut rows = vec![
        row("no user").says(&[("database", "postgres")]),
        row("no parameter at all").says(&[]),
        row("empty user").user(""),
        row("no user, no certificate").without_certificate().says(&[("database", "postgres")]),
        row("no terminator").first(raw(b"user\0alice\0database\0postgres\0")),
        row("unterminated value").first(raw(b"user\0alice\0database\0postgres")),
        row("bytes behind the terminator").first(raw(b"user\0alice\0database\0postgres\0\0junk\0")),
        row("a name without a value").first(raw(b"user\0alice\0database\0\0")),
        row("nothing but the version").first(raw(b"")),
        row("no terminator, no certificate").without_certificate().first(raw(b"user\0alice\0")),
        row("no terminator, in the clear").opening(Opening::Clear).first(raw(b"user\0alice\0")),
        row("user twice").says(&[("user", "bob"), ("user", "alice"), ("database", "postgres")]).but(TWICE, twice("user")),
        row("database twice").says(&[("user", "alice"), ("database", "app"), ("database", "postgres")]).but(TWICE, twice("database")),
        row("replication twice")
            .says(&[&alice[..], &[("replication", "off"), ("replication", "off")]].concat())
            .but(TWICE, twice("replication")),
        row("application_name twice").says(&[&alice[..], &[("application_name", "a"), ("application_name", "b")]].concat()),
        row("user of 64 bytes").user(&"b".repeat(64)),
        row("database absent").says(&[("user", "alice")]),
        row("database absent and unknown").named("bob").says(&[("user", "bob")]),
        row("database empty").says(&[("user", "alice"), ("database", "")]),
        row("database unknown").says(&[("user", "alice"), ("database", "missing")]),
        row("database of 80 bytes").says(&[("user", "alice"), ("database", &"d".repeat(80))]),
        row("database not granted").says(&[("user", "alice"), ("database", "locked")]),
        row("a setting").says(&[&alice[..], &[("search_path", "x")]].concat()),
        row("an unknown setting").says(&[&alice[..], &[("no_such_setting", "x")]].concat()),
        row("a setting that only superusers have").says(&[&alice[..], &[("log_statement", "all")]].concat()),
        row("a setting with a bad value").says(&[&alice[..], &[("DateStyle", "junk")]].concat()),
        row("an unknown encoding").says(&[&alice[..], &[("client_encoding", "junk")]].concat()),
        row("options").says(&[&alice[..], &[("options", "-c search_path=x -c geqo=off")]].concat()),
        row("options of an empty name").says(&[&alice[..], &[("options", "-c=")]].concat()),
        row("options name another role").says(&[&alice[..], &[("options", "-c role=bob")]].concat()),
        row("options name another session user").says(&[&alice[..], &[("options", "-c session_authorization=bob")]].concat()),
        row("role is another").says(&[&alice[..], &[("role", "bob")]].concat()),
        row("session_authorization is another").says(&[&alice[..], &[("session_authorization", "bob")]].concat()),
        row("is_superuser").says(&[&alice[..], &[("is_superuser", "on")]].concat()),
        row("names of odd case").says(&[("User", "bob"), ("user", "alice"), ("DATABASE", "app"), ("database", "postgres")]),
        row("physical replication without a rule").says(&[("user", "alice"), ("replication", "true")]),
        row("logical replication").says(&[&alice[..], &[("replication", "database")]].concat()),
        row("as large as can be").first(long(10_000)),
        row("at the very limit").first(long(10_004)),
        row("over the limit").first(long(10_005)),
        row("protocol 2.0").first(startup_of_version(2, 0, &alice)).but_before(
            18,
            VERSIONS,
            format!("after StartupMessage: {}", unsupported_in_old_format("2.0")),
        ),
        row("protocol 2.0 in the clear").opening(Opening::Clear).first(startup_of_version(2, 0, &alice)).but_before(
            18,
            VERSIONS,
            format!("before TLS: {}", unsupported_in_old_format("2.0")),
        ),
        row("protocol 1.0").first(startup_of_version(1, 0, &alice)).but_before(
            18,
            VERSIONS,
            format!("after StartupMessage: {}", unsupported_in_old_format("1.0")),
        ),
        row("protocol 4.0").first(startup_of_version(4, 0, &alice)).but_before(18, VERSIONS, inside_tls("4.0")),
        row("protocol 4.0 in the clear").opening(Opening::Clear).first(startup_of_version(4, 0, &alice)).but_before(
            18,
            VERSIONS,
            before_tls("4.0"),
        ),
        row("protocol 4.0, no certificate").without_certificate().first(startup_of_version(4, 0, &alice)).but_before(
            18,
            VERSIONS,
            inside_tls("4.0"),
        ),
        row("protocol 4.0 without terminator").first(packet(4 << 16, b"user\0alice\0")).but_before(18, VERSIONS, inside_tls("4.0")),
        row("protocol 3.1").first(startup_of_version(3, 1, &alice)),
        row("protocol 3.2").first(startup_of_version(3, 2, &alice)),
        row("protocol 3.9").first(startup_of_version(3, 9, &alice)),
        row("protocol 3.9999").first(startup_of_version(3, 9999, &alice)),
        row("protocol 3.9999, no certificate")
            .without_certificate()
            .first(startup_of_version(3, 9999, &alice))
            .but(NEGOTIATE, NO_CERTIFICATE),
        row("protocol 3.2, no certificate").without_certificate().first(startup_of_version(3, 2, &alice)).but_before(
            18,
            NEGOTIATE,
            NO_CERTIFICATE,
        ),
        row("protocol 3.9, another role").first(startup_of_version(3, 9, &[("user", "bob")])).but(NEGOTIATE, mismatch("bob")),
        row("a protocol option").says(&[&alice[..], &[("_pq_.x", "1")]].concat()),
        row("protocol options").says(&[&alice[..], &[("_pq_.x", "1"), ("_pq_.y", "2")]].concat()),
        row("a protocol option, no certificate")
            .without_certificate()
            .says(&[&alice[..], &[("_pq_.x", "1")]].concat())
            .but(NEGOTIATE, NO_CERTIFICATE),
        row("a protocol option in the clear")
            .opening(Opening::Clear)
            .says(&[&alice[..], &[("_pq_.x", "1")]].concat())
            .but(NEGOTIATE, format!("before TLS: {NO_ENTRY}")),
        row("in the clear").opening(Opening::Clear),
        row("in the clear, unknown role").opening(Opening::Clear).user("nobody"),
        row("in the clear, odd names").opening(Opening::Clear).user("a\"b\nc\x1b"),
        row("in the clear, invalid UTF-8").opening(Opening::Clear).first(raw(b"user\0a\xff\xfe\0database\0\xc3\0\0")),
        row("in the clear, 80 bytes").opening(Opening::Clear).user(&"c".repeat(80)),
        row("in the clear, no user").opening(Opening::Clear).says(&[]),
        row("in the clear, replication").opening(Opening::Clear).says(&[("user", "alice"), ("replication", "true")]),
        row("HTTP in the clear").opening(Opening::Clear).first(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        row("SSH in the clear").opening(Opening::Clear).first(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        row("PROXY in the clear").opening(Opening::Clear).first(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".to_vec()),
        row("HTTP inside TLS").first(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ];
    for (name, value) in [("0", 0), ("3", 3), ("4", 4), ("7", 7), ("10005", 10_005), ("2^31", 1 << 31), ("2^32-1", u32::MAX)] {
        rows.push(row(Box::leak(format!("length {name}").into_boxed_str())).first(length(value)));
        rows.push(row(Box::leak(format!("length {name} in the clear").into_boxed_str())).opening(Opening::Clear).first(length(value)));
    }
    rows
}

const NEGOTIATE: &str = "NegotiateProtocolVersion is the backend's to send, so none stands before a refusal";
const TWICE: &str = "a name that is given twice is an attack, not a choice (T14)";

fn twice(name: &str) -> String {
    format!("after StartupMessage: FATAL 08P01 startup packet gives the parameter \"{name}\" more than once")
}

fn requests() -> Vec<Row> {
    let key = [7; 4];
    vec![
        row("cancel in the clear, unknown pid").opening(Opening::Clear).first(cancel_request(99_999_999, &key)),
        row("cancel in the clear, short").opening(Opening::Clear).first(cancel_request(1, &[7; 3])),
        row("cancel in the clear, without a key").opening(Opening::Clear).first(cancel_request(1, &[])),
        row("cancel in the clear, 32 bytes").opening(Opening::Clear).first(cancel_request(1, &[7; 32])),
        row("cancel in the clear, 256 bytes").opening(Opening::Clear).first(cancel_request(1, &[7; 256])),
        row("cancel in the clear, 257 bytes").opening(Opening::Clear).first(cancel_request(1, &[7; 257])),
        row("cancel inside TLS").first(cancel_request(99_999_999, &key)),
        row("cancel inside TLS, no certificate").without_certificate().first(cancel_request(99_999_999, &key)),
        row("cancel inside TLS, short").first(cancel_request(1, &[7; 3])),
    ]
}
