use super::*;

fn pattern(source: &str) -> Pattern {
    Pattern::parse(source.as_bytes()).unwrap_or_else(|fault| panic!("{source} {fault}"))
}

fn fault(source: &str) -> String {
    Pattern::parse(source.as_bytes()).map(|pattern| pattern.regex.to_string()).expect_err(source).to_string()
}

fn takes(source: &str, text: &str) -> Option<String> {
    let pattern = pattern(source);
    assert_eq!(pattern.certain_capture(), Ok(()), "{source}");
    pattern.capture(text.as_bytes()).map(|taken| String::from_utf8_lossy(taken).into_owned())
}

#[test]
fn an_expression_matches_anywhere_unless_it_is_anchored() {
    assert!(pattern("lic").is_match(b"alice"));
    assert!(!pattern("^lic").is_match(b"alice") && !pattern("lic$").is_match(b"alice"));
    assert!(pattern("^alice$").is_anchored() && !pattern("^alice").is_anchored() && !pattern("^a$|b").is_anchored());
    assert!(!pattern("^alice$").is_match(b"alice\n"), "a line break is a character like others");
    assert!(pattern("").is_match(b"") && pattern("a|").is_match(b"x"));
}

#[test]
fn a_character_is_a_byte() {
    let umlaut = "é".as_bytes();
    assert!(!pattern("^.$").is_match(umlaut) && pattern("^..$").is_match(umlaut) && pattern("^é$").is_match(umlaut));
    assert!(!pattern(r"^\w+$").is_match(umlaut) && pattern("^[^a]+$").is_match(b"\xff\n"));
}

#[test]
fn brackets_hold_what_they_hold_in_postgresql() {
    let cases: &[(&str, &str, &str)] = &[
        ("[]a]", "]a", "b"),
        ("[^]a]", "b", "]a"),
        ("[a-]", "a-", "b"),
        ("[-a]", "a-", "b"),
        ("[+--]", "+,-", "."),
        ("[--/]", "-./", "0"),
        ("[a-c]", "abc", "d-"),
        ("[[:digit:]x]", "09x", "a:"),
        (r"[\d\-\]]", "5-]", r"a\"),
        (r"[\w.]", "aZ_.", "-"),
        ("[[]", "[", "]"),
        ("[a[b]", "a[b", "]"),
        ("[.*$^]", ".*$^", "a"),
    ];
    for (source, inside, outside) in cases {
        let pattern = pattern(&format!("^{source}$"));
        assert!(inside.chars().all(|c| pattern.is_match(c.to_string().as_bytes())), "{source} {inside}");
        assert!(!outside.chars().any(|c| pattern.is_match(c.to_string().as_bytes())), "{source} {outside}");
    }
}

#[test]
fn a_brace_without_a_number_is_a_brace() {
    assert!(pattern("^a{,3}$").is_match(b"a{,3}") && pattern("^{}$").is_match(b"{}") && pattern("^a{2}b{1,}$").is_match(b"aabb"));
}

#[test]
fn what_is_outside_the_subset_is_named() {
    for (source, named) in [
        (r"\yalice", r"\y"),
        (r"\malice\M", r"\m"),
        (r"\Aalice", r"\A"),
        (r"(a)\1", "back-reference"),
        (r"\x41", r"\x"),
        (r"\B", r"\B"),
        ("(?i)alice", "(?i"),
        ("(?:a)", "(?:"),
        ("a(?=b)", "(?="),
        ("***=a", "***"),
        ("a*?", "non-greedy"),
        ("a{1,2}?", "non-greedy"),
        ("a**", "behind a quantifier"),
        ("a+{2}", "nothing before it"),
        ("*a", "nothing before it"),
        ("^*", "nothing before it"),
        ("(|*)", "nothing before it"),
        ("{1}", "nothing before it"),
        ("a{256}", "bounds"),
        ("a{2,1}", "bounds"),
        ("a{1", "bounds"),
        ("a{1x}", "bounds"),
        ("[[.a.]]", "collating"),
        ("[[=a=]]", "equivalence"),
        ("[[:<:]]a", "[[:<:]]"),
        ("[[:nope:]]", "[:"),
        ("[z-a]", "range"),
        ("[a-c-e]", "range"),
        (r"[\d-z]", "range"),
        (r"[\D]", "inside brackets"),
        ("[a", "without its ]"),
        ("(a", "without its )"),
        ("a)", "without its ("),
        ("a\\", "backslash"),
    ] {
        assert!(fault(source).contains(named), "{source}: {}", fault(source));
    }
    assert!(fault(&"(".repeat(100)).contains("50 deep"));
    assert!(fault(&"a".repeat(5000)).contains("4096"));
    assert!(fault("(((a{255}){255}){255}){255}").contains("too large"));
}

#[test]
fn the_first_group_is_what_the_map_takes() {
    assert_eq!(takes(r"^(.*)@example\.com$", "alice@example.com").as_deref(), Some("alice"));
    assert_eq!(takes("^CN=([^,]+),OU=eng", "CN=alice,OU=eng,O=x").as_deref(), Some("alice"));
    assert_eq!(takes("^(.*)@(a|b)\\.com$", "x@y@b.com").as_deref(), Some("x@y"));
    assert_eq!(takes("^(alice|bob)@x$", "bob@x").as_deref(), Some("bob"), "its length is what the others leave");
    assert_eq!(takes("^(a|ab)(c|d)$", "abc").as_deref(), Some("ab"));
    assert_eq!(takes("(([a-z]+)-?)", "1ab-c").as_deref(), Some("ab-"));
    assert_eq!(takes("a(b?)", "x"), None);
}

#[test]
fn a_group_whose_extent_hangs_on_the_kind_of_search_is_no_capture() {
    for source in ["^(a|ab)(b?)", "^(a)|(b)$", "^(a)+$", "^(a?(ab)?)(b*)$", "^([a-z]+)(ab|a)", "^x*(a|ab)b*$"] {
        let pattern = pattern(source);
        assert!(pattern.certain_capture().is_err() && pattern.has_group(), "{source}");
    }
    assert_eq!(pattern("^(alice|bob)@x$").certain_capture(), Ok(()));
}
