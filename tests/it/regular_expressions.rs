//! Regular expressions of rules and maps: whatever Postern takes, PostgreSQL's own `regexp_match` takes too, and both find the same.

use postern::policy::Pattern;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::harness::postgres::{Installation, Postgres};

#[test]
fn debians_postgresql_matches_what_postern_matches() {
    compare(&Installation::debian());
}

#[test]
fn postgresql_18_matches_what_postern_matches() {
    compare(&Installation::eighteen());
}

/// As the postmaster reads pg_hba.conf: SQL_ASCII, where a character is a byte, and the C collation.
fn compare(installation: &Installation) {
    let server = Postgres::isolated(installation);
    server.sql("create database bytes template template0 encoding 'SQL_ASCII' locale 'C'");
    let (mut taken, mut captured) = (0, 0);
    let mut faults = Vec::new();
    for batch in cases().chunks(2_000) {
        for ((pattern, text), answer) in batch.iter().zip(answers(&server, batch)) {
            let read = Pattern::parse(pattern);
            let found = match &read {
                Err(fault) if fault.is_invalid() => "error".to_owned(),
                Err(_) => continue,
                Ok(read) if !read.is_match(text) => "no".to_owned(),
                Ok(read) if read.has_group() && read.certain_capture().is_ok() => {
                    captured += 1;
                    read.capture(text).map_or_else(|| "yes".to_owned(), |taken| format!("yes:{}", hex(taken)))
                }
                Ok(_) => "yes".to_owned(),
            };
            taken += 1;
            if !(answer == found || (found == "yes" && answer.starts_with("yes"))) {
                faults.push(format!("{} on {}: PostgreSQL {answer}, Postern {found}", pattern.escape_ascii(), text.escape_ascii()));
            }
        }
    }
    assert!(faults.is_empty(), "{} differ: {}", faults.len(), faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n"));
    assert!(taken > 5_000 && captured > 300, "only {taken} were compared, {captured} of them for what a group takes");
}

/// What PostgreSQL finds: `no`, or `yes` with what the first group took, in hexadecimal; or `error`.
fn answers(server: &Postgres, batch: &[(Vec<u8>, Vec<u8>)]) -> Vec<String> {
    let rows: Vec<String> = batch.iter().map(|(pattern, text)| format!("('{}','{}')", hex(pattern), hex(text))).collect();
    let sql = format!(
        "\\c bytes
         create or replace function pg_temp.find(pattern bytea, value bytea) returns text language plpgsql as $$
         declare
             p text := convert_from(pattern, 'SQL_ASCII'); v text := convert_from(value, 'SQL_ASCII'); groups text[];
         begin
             if not (v collate \"C\" ~ p) then return 'no'; end if;
             groups := regexp_match(v collate \"C\", p);
             if p !~ '\\(' or groups[1] is null then return 'yes'; end if;
             return 'yes:' || encode(convert_to(groups[1], 'SQL_ASCII'), 'hex');
         exception when others then return 'error';
         end $$;
         select pg_temp.find(decode(p, 'hex'), decode(v, 'hex')) from (values {}) as cases(p, v);",
        rows.join(",")
    );
    let answers: Vec<String> = server
        .sql(&sql)
        .lines()
        .filter(|line| line.starts_with("no") || line.starts_with("yes") || *line == "error")
        .map(|line| line.trim_end().to_owned())
        .collect();
    assert_eq!(answers.len(), batch.len());
    answers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Expressions as people write them and as nobody would, each with texts that it may match.
fn cases() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut runner = TestRunner::deterministic();
    let mut cases = Vec::new();
    for pattern in FIXED {
        cases.extend(TEXTS.iter().map(|text| (pattern.as_bytes().to_vec(), text.as_bytes().to_vec())));
    }
    let texts = prop::collection::vec(any::<prop::sample::Index>(), 0..7);
    for pattern in [expression().boxed(), noise().boxed()].iter().cycle().take(1_400) {
        let pattern = pattern.new_tree(&mut runner).unwrap().current();
        for _ in 0..8 {
            let text =
                texts.new_tree(&mut runner).unwrap().current().iter().map(|index| b"aaabbbcx@,.\xc3\xa9A_1\n"[index.index(17)]).collect();
            cases.push((pattern.clone(), text));
        }
    }
    cases
}

/// Well formed, nested up to three deep.
fn expression() -> impl Strategy<Value = Vec<u8>> {
    let atom = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "x", "@", "\\.", ",", "é", "\\$"]),
        2 => prop::sample::select(vec![".", "[ab]", "[^a]", "[a-c]", "\\w", "\\d", "\\S", "[[:alpha:]]", "[^[:cntrl:]]", "[]a-]", "[\\w.]", "\\W"]),
    ]
    .prop_map(str::to_owned);
    let quantified = |inner: BoxedStrategy<String>| {
        let quantifier = prop_oneof![5 => Just(""), 3 => prop::sample::select(vec!["*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}", "{1,1}"])];
        (inner, quantifier).prop_map(|(atom, quantifier)| atom + quantifier)
    };
    let leaf = quantified(atom.boxed());
    let body = leaf.prop_recursive(3, 16, 4, move |inner| {
        let branch = prop::collection::vec(inner.clone(), 0..4).prop_map(|items| items.concat());
        let alternatives = prop::collection::vec(branch.clone(), 1..3).prop_map(|branches| branches.join("|"));
        let group = quantified(alternatives.prop_map(|inner| format!("({inner})")).boxed());
        prop_oneof![group, branch]
    });
    let whole = prop::collection::vec(body, 1..4).prop_map(|parts| parts.concat());
    (any::<bool>(), whole, any::<bool>())
        .prop_map(|(start, whole, end)| format!("{}{whole}{}", if start { "^" } else { "" }, if end { "$" } else { "" }).into_bytes())
}

/// Bytes out of those that mean something.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "a",
        "b",
        "(",
        ")",
        "|",
        "*",
        "+",
        "?",
        "{",
        "}",
        "{1}",
        "{2,3}",
        "[",
        "]",
        "[^",
        "-",
        "^",
        "$",
        ".",
        "\\",
        ":",
        "[:alpha:]",
        "[:",
        ":]",
        ",",
        "1",
        "\\d",
        "\\D",
        "é",
        "=",
        "#",
        " ",
    ]);
    prop::collection::vec(token, 0..8).prop_map(|tokens| tokens.concat().into_bytes())
}

const FIXED: &[&str] = &[
    "",
    "^$",
    "^(.*)@example\\.com$",
    "^CN=([^,]+),",
    "(.*)@",
    "^(alice|bob)@",
    "^(a|ab)(c|bcd)(d*)$",
    "^(a|ab)(c|d)$",
    "(a|b)",
    "(a*)(b*)",
    "^([a-z]+)-([a-z]+)$",
    "^(a+)(a*)$",
    "(a?)(ab)?",
    "^x*(a{2,3})",
    "^([^@]+)@(a|ab)$",
    "((a)|b)*c",
    "()",
    "(|a)",
    "a||b",
    "[[:cntrl:]]",
    "[^[:ascii:]]",
    "[[:punct:]]",
    "[[:print:]]",
    "^[[:space:][:blank:]]$",
    "[[:word:]]",
    "[[:xdigit:]]",
    "\\s",
    "\\S",
    "[\\s]",
    "[\\d-]",
    "a{,2}",
    "{",
    "a{",
    "x]",
    "}",
    "^a|b$",
    "(^a)",
    "(a$)",
    "a^",
    "$a",
    "a$b",
    "(^)*a",
    "[a-",
    "[]",
    "[^]",
    "[--a]",
    "[a--]",
    "[!--]",
    "[%--]",
    "\\_",
    "\\é",
    "\\-",
    "[\\-a]",
    "[[a]",
    "[[.a.]]",
    "(?:a)",
    "\\ya",
    "a*?",
    "(a)\\1",
    "***=a",
    "a{256}",
    "a{255}",
    "a**",
    "^*",
    "(*a)",
    "(a)(?=b)",
    "a{1}{2}",
    "a{2,1}",
    "a{01}",
    "[a-c-e]",
    "[\\w-z]",
    "\\",
    "a\\",
    "(",
    ")",
    "a)b",
];

const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "aab",
    "abc",
    "abcd",
    "alice",
    "alice@example.com",
    "x@y@example.com",
    "CN=alice,OU=eng",
    "bob@x",
    "a-b",
    "aaa",
    "xaab",
    "é",
    "\n",
    "\t",
    "\u{80}",
    "_",
    "-",
    ".",
    ",",
    "]",
    "}",
    "{",
    "a{,2}",
    "\\",
    "A",
    "1",
    "a@ab",
    "abb",
    "acd",
];
