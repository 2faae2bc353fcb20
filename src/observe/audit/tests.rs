use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::*;
use crate::error::{EndReason, Reason};
use crate::observe::samples::{admin, anonymous, cancel, ending, expiring, hostile_names, named, opening, refusal, reload, start, trail};
use crate::observe::{AdminResult, AdminVerb, CancelResult, ReloadResult};
use crate::types::ExpiryKind;

fn line(record: &Record) -> String {
    Chain::new("01JD6Y00000000000000000000".to_owned()).line(&record.body)
}

fn line_of(event: &Event<'_>) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_micros(1_795_528_867_123_456)).unwrap();
    line(&Record::of(event, at).expect("a record"))
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_session_start_is_the_record_of_the_contract() {
    let trail = trail();
    let session = trail.session;
    let expected = format!(
        r#"{{"v":1,"boot":"01JD6Y00000000000000000000","seq":0,"time":"2026-11-24T14:01:07.123456Z","event":"session.start","session":"{session}","client":{{"address":"10.1.2.3","port":51234}},"tls":{{"version":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","group":"X25519MLKEM768","negotiation":"direct","sni":"db.example"}},"cert":{{"subject":"CN=alice,O=Example","cn":"alice","issuer":"CN=client-ca","serial":"03c063","sha256":"{}","not_after":"2027-01-01T00:00:00Z"}},"startup":{{"user":"alice","database":"app","application_name":"psql","replication":null}},"decision":{{"rule":"hba[0]","map":null,"role":"alice"}},"backend":{{"pid":8123}},"setup_ms":3.1,"prev":null}}"#,
        "9f".repeat(32)
    );
    assert_eq!(line_of(&Event::SessionStarted(&opening(trail))), expected);
}

#[test]
fn a_refusal_says_why_and_what_the_client_was_told() {
    let record = json(&line_of(&Event::ConnectionRefused(&refusal(anonymous(), Reason::Identity))));
    assert_eq!(record["reason"], "identity");
    assert_eq!(record["sqlstate"], "28000");
    assert_eq!(record["message"], "certificate authentication failed for user \"bob\"");
    assert_eq!(record["detail"], "the certificate's name is alice");
    assert!(record["cert"].is_null() && record["tls"].is_null());
}

#[test]
fn a_session_end_has_its_counts() {
    let record = line_of(&Event::SessionEnded(&ending()));
    let counts = r#""reason":"client","detail":null,"duration_ms":62400,"bytes_in":10412,"bytes_out":88011,"statements":19,"errors":0,"truncated":false,"prev":null}"#;
    assert!(record.ends_with(counts), "{record}");
}

#[test]
fn hostile_names_make_one_valid_line_within_the_limit() {
    for name in hostile_names() {
        let mut refused = refusal(named(&name), Reason::Identity);
        (refused.message, refused.detail) = (Some(name.as_slice().into()), String::from_utf8_lossy(&name).into_owned());
        for line in [line_of(&Event::ConnectionRefused(&refused)), line_of(&Event::SessionStarted(&opening(named(&name))))] {
            assert!(line.len() < LINE_LIMIT, "{} bytes", line.len());
            assert!(!line.chars().any(super::super::text::deceives), "{line}");
            assert_eq!(json(&line)["decision"]["role"], "alice");
        }
    }
}

#[test]
fn an_endless_list_of_notices_fits_as_well() {
    for notice in hostile_names() {
        let notices = vec![String::from_utf8_lossy(&notice).into_owned(); 300];
        let line = line_of(&start(&notices));
        assert!(line.len() < LINE_LIMIT && json(&line)["event"] == "daemon.start", "{} bytes", line.len());
    }
}

#[test]
fn a_name_is_recorded_without_loss() {
    let record = json(&line_of(&Event::SessionStarted(&opening(named(b"a\n\x1b\xff\"")))));
    assert_eq!(record["startup"]["user"], "a\n\u{1b}\u{fffd}\"");
    assert_eq!(record["startup"]["user_hex"], "610a1bff22");
    assert_eq!(record["cert"]["cn_hex"], "610a1bff22");
    let clean = json(&line_of(&Event::SessionStarted(&opening(named("zoë \"o'hara\"".as_bytes())))));
    assert_eq!(clean["startup"]["user"], "zoë \"o'hara\"");
    assert!(clean["startup"].get("user_hex").is_none());
}

#[test]
fn what_can_deceive_a_reader_is_escaped_in_the_line() {
    let line = line_of(&Event::SessionStarted(&opening(named("\n\u{1b}\u{7f}\u{85}\u{2028}\u{2029}".as_bytes()))));
    assert!(line.contains(r#""user":"\u000a\u001b\u007f\u0085\u2028\u2029""#), "{line}");
}

#[test]
fn a_long_name_is_cut_and_says_so() {
    let record = json(&line_of(&Event::SessionStarted(&opening(named(&[b'a'; 9000])))));
    let user = record["startup"]["user"].as_str().unwrap();
    assert!(user.starts_with("aaaa") && user.ends_with("a[cut, 9000 bytes in all]"), "{user}");
}

#[test]
fn every_record_has_the_fields_of_the_schema_and_no_other() {
    let schema: Value = serde_json::from_str(include_str!("../../../config/audit-record.schema.json")).unwrap();
    let merged = |kind| Record::merged(&Merged { kind, count: 7, first: UNIX_EPOCH, last: UNIX_EPOCH }, UNIX_EPOCH);
    let hostile = hostile_names().swap_remove(3);
    let records = [
        ("daemon.start", line_of(&start(&["a notice".to_owned()]))),
        ("session.start", line_of(&Event::SessionStarted(&opening(trail())))),
        ("session.start", line_of(&Event::SessionStarted(&opening(named(&hostile))))),
        ("session.end", line_of(&Event::SessionEnded(&ending()))),
        ("connection.refused", line_of(&Event::ConnectionRefused(&refusal(anonymous(), Reason::Plaintext)))),
        ("connection.refused", line_of(&Event::ConnectionRefused(&refusal(named(&hostile), Reason::Identity)))),
        ("connection.refused.merged", line(&merged(Kind::Refused(Reason::Plaintext)))),
        ("cancel", line_of(&Event::CancelHandled(&cancel(CancelResult::UnknownKey)))),
        ("cancel.merged", line(&merged(Kind::Cancelled(CancelResult::UnknownKey)))),
        ("admin", line_of(&Event::AdminHandled(&admin(Some(AdminVerb::Kill), AdminResult::Done)))),
        ("admin", line_of(&Event::AdminHandled(&admin(None, AdminResult::Forbidden)))),
        ("admin.merged", line(&merged(Kind::Forbidden))),
        ("config.reload", line_of(&Event::Reloaded(&reload(ReloadResult::Rejected)))),
        ("certificate.expiring", line_of(&Event::Expiring(&expiring(86_400)))),
        ("certificate.expiring", line_of(&Event::Expiring(&ExpiryReport { serial: None, sha256: None, ..expiring(-1) }))),
        ("audit.gap", line(&Record::gap(&Lost { count: 3, first: UNIX_EPOCH, last: UNIX_EPOCH }, UNIX_EPOCH))),
    ];
    for (shape, line) in records {
        check_object(&schema, &[&schema, &schema["$defs"][shape]], json(&line).as_object().unwrap());
    }
}

#[test]
fn the_schema_knows_every_code() {
    let schema: Value = serde_json::from_str(include_str!("../../../config/audit-record.schema.json")).unwrap();
    let defs = &schema["$defs"];
    assert_eq!(defs["reason"]["enum"], Value::from(Reason::ALL.map(Reason::code).to_vec()));
    assert_eq!(defs["cancel_result"]["enum"], Value::from(CancelResult::ALL.map(CancelResult::code).to_vec()));
    assert_eq!(defs["admin_result"]["enum"], Value::from(AdminResult::ALL.map(AdminResult::code).to_vec()));
    let verbs = AdminVerb::ALL.map(|verb| Value::from(verb.code())).into_iter().chain([Value::Null]).collect();
    assert_eq!(defs["admin"]["properties"]["verb"]["enum"], Value::Array(verbs));
    assert_eq!(defs["config.reload"]["properties"]["result"]["enum"], Value::from(ReloadResult::ALL.map(ReloadResult::code).to_vec()));
    assert_eq!(defs["certificate.expiring"]["properties"]["kind"]["enum"], Value::from(ExpiryKind::ALL.map(ExpiryKind::code).to_vec()));
    assert_eq!(defs["session.end"]["properties"]["reason"]["enum"], Value::from(EndReason::ALL.map(EndReason::code).to_vec()));
}

/// As much of JSON Schema as the file uses: required and known fields, types, constants, enumerations, objects within.
fn check_object(root: &Value, shapes: &[&Value], object: &Map<String, Value>) {
    for shape in shapes {
        for field in shape["required"].as_array().unwrap() {
            assert!(object.contains_key(field.as_str().unwrap()), "{field} is missing: {object:?}");
        }
    }
    for (key, value) in object {
        let mut known = shapes.iter().rev().filter_map(|shape| shape["properties"].get(key));
        let rule = known.next().unwrap_or_else(|| panic!("{key} is not in the schema"));
        check_value(root, rule, key, value);
    }
}

fn check_value(root: &Value, rule: &Value, key: &str, value: &Value) {
    if let Some(target) = rule["$ref"].as_str() {
        return check_value(root, root.pointer(target.trim_start_matches('#')).unwrap(), key, value);
    }
    if let Some(constant) = rule.get("const") {
        assert_eq!(value, constant, "{key}");
    }
    if let Some(values) = rule["enum"].as_array() {
        assert!(values.contains(value), "{key}: {value}");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |name: &Value| name == kind || (name == "number" && kind == "integer");
    let types = &rule["type"];
    assert!(types.is_null() || types.as_array().map_or_else(|| fits(types), |all| all.iter().any(fits)), "{key}: {value}");
    if let Value::Object(object) = value {
        check_object(root, &[rule], object);
    }
}
