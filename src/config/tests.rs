use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().unwrap() == "yaml").collect();
    files.sort();
    files
}

fn faults_of(text: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.yaml");
    fs::write(&path, text).unwrap();
    let shown = load(&path).unwrap_err().to_string();
    shown.replace(path.to_str().unwrap(), "p.yaml")
}

const MINIMAL: &str = "listen: 127.0.0.1:5432\ntls: {ssl_cert_file: c, ssl_key_file: k, ssl_ca_file: a}\nbackend: {host: /tmp}\n";

#[test]
fn every_valid_file_loads() {
    let files = files("tests/config/valid");
    assert!(files.len() > 5);
    for path in files {
        if let Err(diagnostics) = load(&path) {
            panic!("{diagnostics}");
        }
    }
}

/// `POSTERN_BLESS=1` writes what is found as what is expected, to be read before it is committed.
#[test]
fn every_invalid_file_has_exactly_its_faults() {
    let files = files("tests/config/invalid");
    assert!(files.len() >= 25);
    for path in files {
        let folder = path.parent().unwrap().to_str().unwrap();
        let found = load(&path).expect_err(path.to_str().unwrap()).to_string().replace(&format!("{folder}/"), "") + "\n";
        let expected = path.with_extension("expected");
        if std::env::var_os("POSTERN_BLESS").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
}

#[test]
fn a_carriage_return_ends_a_line_in_every_fault() {
    assert!(faults_of(b"a: 1\rb: \0\r").contains("p.yaml:2:4:"));
    assert!(faults_of(b"a: 1\r\nb: \0\r\n").contains("p.yaml:2:4:"));
}

#[test]
fn the_reference_says_what_the_example_means() {
    let example = load(&folder("config").join("example.yaml")).unwrap().settings;
    let reference = load(&folder("config").join("reference.yaml")).unwrap().settings;
    assert_eq!(example, reference);
}

#[test]
fn the_reference_has_every_key_that_is_built() {
    let locator = load(&folder("config").join("reference.yaml")).unwrap().locator;
    // Of a list that is empty by default, the keys of its items stand in the comment above it.
    let text = fs::read_to_string(folder("config").join("reference.yaml")).unwrap();
    let example = text.lines().find(|line| line.starts_with("  # - { hosts: ")).unwrap();
    for key in keys::built().filter(|key| !key.contains('*')) {
        let said = || key.strip_prefix("tls.sni[].").is_some_and(|name| example.contains(&format!("{name}: ")));
        assert!(locator.find(&key.replace("[]", "[0]")).is_some() || said(), "{key} is not in reference.yaml");
    }
}

#[test]
fn a_relative_path_starts_at_the_files_folder_and_an_absolute_one_stays() {
    let text = MINIMAL.replace("ssl_key_file: k", "ssl_key_file: /k");
    let tls = parse(&text, Path::new("/etc/postern/p.yaml")).unwrap().settings.live.tls;
    assert_eq!((tls.ssl_cert_file.as_path(), tls.ssl_key_file.as_path()), (Path::new("/etc/postern/c"), Path::new("/k")));
}

#[test]
fn the_defaults_are_the_contracts() {
    let Settings { boot, live } = parse(MINIMAL, Path::new("p.yaml")).unwrap().settings;
    let shown = format!("{boot:?} {:?} {:?}", live.backend, live.tls);
    assert!(shown.contains("Stdout") && shown.contains("on_failure: Refuse"), "{shown}");
    assert!(shown.contains("level: Info") && shown.contains("format: Auto"), "{shown}");
    assert!(shown.contains("connect_timeout: 5s") && shown.contains("require_peer: None"), "{shown}");
    assert!(shown.contains("ssl_crl_file: None") && shown.contains("x509_v1: Accept"), "{shown}");
    assert_eq!((live.cancel_plaintext, live.limits.authentication_timeout), (CancelPlaintext::Allow, Duration::from_secs(10)));
    assert_eq!(live.policy.rules().len(), 1);
}

#[test]
fn a_rule_keeps_its_place_and_its_block_without_host_bits() {
    let text = format!("{MINIMAL}hba:\n- {{database: [a, replication], user: [u, all], address: 10.1.2.3/8, method: reject}}\n");
    let policy = parse(&text, Path::new("p.yaml")).unwrap().settings.live.policy;
    let shown = format!("{:?}", policy.rules());
    assert!(
        shown.contains("10.0.0.0/8") && shown.contains("[Name(\"a\"), Replication]") && shown.contains("[Name(\"u\"), All]"),
        "{shown}"
    );
    assert!(shown.contains("Reject") && shown.contains("hba[0]"), "{shown}");
}

#[test]
fn a_fault_found_later_is_shown_at_its_key_or_its_section() {
    let locator = parse(MINIMAL, Path::new("p.yaml")).unwrap().locator;
    let later = locator.diagnostics([("tls.ssl_key_file", "found x".to_owned()), ("tls.ssl_crl_file", "found y".to_owned())]);
    assert_eq!(later.to_string(), "p.yaml:2:1 tls.ssl_crl_file: found y\np.yaml:2:25 tls.ssl_key_file: found x");
    assert_eq!(locator.at("log.level"), Position::START);
}

#[test]
fn a_file_that_is_absent_a_folder_or_too_large_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let absent = load(&directory.path().join("p.yaml")).unwrap_err().to_string();
    assert!(
        absent.ends_with(
            "p.yaml: found no file that can be read (No such file or directory (os error 2)), expected a configuration; name it with -c"
        ),
        "{absent}"
    );
    assert!(load(directory.path()).unwrap_err().to_string().contains("Is a directory"));
    let mut large = MINIMAL.as_bytes().to_vec();
    large.resize((1 << 20) + 1, b'#');
    assert_eq!(faults_of(&large), "p.yaml: found more than 1 MiB, expected a configuration; name the right file with -c");
}

#[test]
fn bytes_that_are_not_utf_8_are_shown_at_their_place() {
    assert_eq!(
        faults_of(b"listen: 0.0.0.0:5432\n# \xc3\xa9 \xff\n"),
        "p.yaml:2:5: found a byte that is not UTF-8, expected UTF-8; save the file as UTF-8"
    );
    assert_eq!(faults_of(b"\xff\xfel\0"), "p.yaml:1:1: found UTF-16, expected UTF-8; save the file as UTF-8");
    assert_eq!(
        faults_of(b"\xef\xbb\xbflisten: 0.0.0.0:5432\n"),
        "p.yaml:1:1: found a byte order mark, expected UTF-8 without one; save the file as UTF-8 without BOM"
    );
}

#[test]
fn a_file_made_to_exhaust_the_reader_is_refused_in_few_words() {
    let laughs = "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c, *c]\n".to_owned();
    let keys = (0..6_000).map(|number| format!("k{number}: 1\n")).collect();
    let listen = format!("listen: [{}]", (0..6_000).map(|number| format!("1.2.{}.{}:1,", number / 256, number % 256)).collect::<String>());
    for text in [
        laughs,
        keys,
        listen,
        "[".repeat(1 << 17),
        "{a: ".repeat(1 << 15),
        "- ".repeat(1 << 16),
        "? ".repeat(1 << 16),
        "[a,".repeat(40_000),
        "a\n".repeat(1 << 16),
        "---\n".repeat(1 << 15),
        "!a ".repeat(40_000),
        "&a ".repeat(40_000),
        "\"".repeat(1 << 17),
        ":".repeat(1 << 17),
        "a: |\n".to_owned() + &" ".repeat(1 << 16),
        "x".repeat(1 << 17) + ": 1",
    ] {
        let shown = faults_of(text.as_bytes());
        let head: String = text.chars().take(20).collect();
        assert!(shown.len() < 200_000, "{head:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_settings_or_faults(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        settings_or_faults(&bytes);
    }

    #[test]
    fn arbitrary_marks_of_yaml_are_settings_or_faults(text in "[-a:?,&*!|>'\"%@#~{}\\[\\]\\\\ \t\r\n.0\u{85}\u{2028}\u{feff}]{0,60}") {
        settings_or_faults(text.as_bytes());
    }

    #[test]
    fn a_damaged_reference_is_settings_or_faults(
        places in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, "[-a:?,&*!|>'\"%@#~{}\\[\\] \t\r\n0]{0,4}"), 1..5),
    ) {
        let mut text = include_str!("../../config/reference.yaml").lines().filter(|line| !line.trim().starts_with('#')).fold(String::new(), |all, line| all + line + "\n");
        for (place, removed, added) in places {
            let start = place.index(text.len());
            let end = start.saturating_add(removed).min(text.len());
            text.replace_range(start..end, &added);
        }
        settings_or_faults(text.as_bytes());
    }
}

fn settings_or_faults(bytes: &[u8]) {
    match decode(bytes.to_vec()).map_err(Faults::from).and_then(|text| parse(&text, Path::new("p.yaml"))) {
        Ok(_) => {}
        Err(faults) => {
            let faults = faults.of(Path::new("p.yaml"));
            assert!(faults.iter().next().is_some());
            assert!(faults.iter().all(|fault| !fault.text().contains(char::is_control) && !fault.key().contains(char::is_control)));
        }
    }
}
