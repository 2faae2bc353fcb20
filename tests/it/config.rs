//! The configuration as other tools see it: its JSON Schema, judged by an independent reader of schemas, and the settings in force.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, postern};
use crate::harness::pki::Pki;
use crate::harness::{OPEN_TO_ALL, tools};

/// Validates YAML files against the schema on standard input; prints the names of those that it refuses.
const JUDGE: &str = "
import json, jsonschema, pathlib, sys, yaml
schema = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(schema)
judge = jsonschema.Draft202012Validator(schema)
for file in sys.argv[1:]:
    for error in judge.iter_errors(yaml.safe_load(pathlib.Path(file).read_text())):
        print(pathlib.Path(file).name, error.json_path, error.message)
";

#[test]
fn the_schema_takes_every_file_that_serve_would_take() {
    let files = [yaml_files("tests/config/valid"), vec!["config/example.yaml".into(), "config/reference.yaml".into()]].concat();
    assert!(files.len() > 5);
    assert_eq!(judged(&files), "");
}

#[test]
fn the_schema_refuses_what_it_can_see() {
    for file in ["unknown_key_with_near_miss", "limits", "duration_units", "hba_methods", "missing_keys"] {
        let path = format!("tests/config/invalid/{file}.yaml");
        assert!(judged(std::slice::from_ref(&path)).starts_with(&format!("{file}.yaml ")), "{file} passes");
    }
}

#[test]
fn config_print_shows_defaults_and_what_the_file_says() {
    let pki = Pki::new();
    let config = Config::new(&pki, Path::new("/var/run/postgresql"), 5432).with(OPEN_TO_ALL);
    let file = config.write();
    let file = file.to_str().unwrap();
    let yaml = succeeded(postern(&["config", "print", "-c", file]));
    assert!(yaml.contains("max_handshakes: 2000") && yaml.contains("plaintext: allow"), "{yaml}");
    let json: serde_json::Value = serde_json::from_str(&succeeded(postern(&["config", "print", "--json", "-c", file]))).unwrap();
    assert_eq!(json["backend"]["host"].as_str(), Some("/var/run/postgresql"));
    assert_eq!(json["hba"][1]["database"], "replication");
    assert_eq!(json["limits"]["authentication_timeout"], "10s");
}

#[test]
fn config_print_of_a_faulty_file_prints_its_faults() {
    let output = postern(&["config", "print", "-c", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/invalid/limits.yaml")]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stdout).contains("limits.yaml:"), "{output:?}");
}

fn yaml_files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".yaml")).map(|name| format!("{folder}/{name}")).collect()
}

fn judged(files: &[String]) -> String {
    succeeded(judge(&postern(&["config", "schema"]).stdout, files))
}

fn judge(schema: &[u8], files: &[String]) -> Output {
    let mut python = Command::new(tools().join("python/bin/python"));
    python.args(["-c", JUDGE]).args(files).current_dir(env!("CARGO_MANIFEST_DIR"));
    crate::harness::clients::run_with_input(&mut python, schema)
}
