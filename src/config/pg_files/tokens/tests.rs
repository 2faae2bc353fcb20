use std::fs;

use proptest::prelude::*;

use super::*;

/// The lines of `text`: fields between `|`, tokens between `,`, `!` before a quoted one.
fn shown(text: &str) -> Vec<String> {
    let mut faults = Faults::default();
    let mut reading = Reading { faults: &mut faults, files: BTreeSet::new(), opened: 0, bytes: 0 };
    let file: Arc<Path> = Path::new("f").into();
    let mut lines = Vec::new();
    for joined in join(text.as_bytes()) {
        reading.line(&joined, Place { file: &file, depth: 0 }, &mut lines);
    }
    lines.iter().map(show).collect()
}

fn show(line: &Line) -> String {
    let token = |token: &Token| format!("{}{}", if token.quoted { "!" } else { "" }, String::from_utf8_lossy(&token.text));
    let field = |field: &Vec<Token>| field.iter().map(token).collect::<Vec<_>>().join(",");
    format!("{} {}", line.number, line.fields.iter().map(field).collect::<Vec<_>>().join("|"))
}

/// The lines of `main` in a folder with these files, and the faults.
fn in_folder(files: &[(&str, &str)]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut faults = Faults::default();
    let main = folder.path().join("main");
    let tokens = read(&main, &mut faults).unwrap();
    let name = |line: &Line| line.file.strip_prefix(folder.path()).unwrap().display().to_string();
    let lines = tokens.lines.iter().map(|line| format!("{}:{}", name(line), show(line))).collect();
    let faults = if faults.is_empty() { String::new() } else { faults.of(&main).to_string() };
    (lines, faults.replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn blanks_and_commas_part_tokens_and_a_comma_joins_a_field() {
    assert_eq!(shown("a b\tc\rd"), ["1 a|b|c|d"]);
    assert_eq!(shown("a,b c, d ,e"), ["1 a,b|c,d|e"]);
    assert_eq!(shown(",,a,,b,"), ["1 a,b"]);
    assert_eq!(shown("a,\nb"), ["1 a", "2 b"]);
    assert_eq!(shown("\n \n,\n#x\na#b\na #b"), ["5 a", "6 a"]);
}

#[test]
fn quotes_keep_blanks_and_mark_a_token_that_begins_with_one() {
    assert_eq!(shown(r#""a b" "all" a"b c"d "" "#), [r#"1 !a b|!all|ab cd|!"#]);
    assert_eq!(shown(r#""a""b" """" "#), [r#"1 !a"b|!""#]);
    assert_eq!(shown(r##""a#b,c" x"##), ["1 !a#b,c|x"]);
    assert_eq!(shown(r#"""all a""ll"#), [r#"1 !all|all"#]);
    assert_eq!(shown("\"a b\nc"), ["1 !a b", "2 c"]);
}

#[test]
fn a_backslash_at_the_end_continues_a_line_even_a_comment() {
    assert_eq!(shown("a \\\nb\\\n c\nd"), ["1 a|b|c", "4 d"]);
    assert_eq!(shown("# a \\\nb\nc"), ["3 c"]);
    assert_eq!(shown("a\\\\\nb"), ["1 a\\b"]);
    assert_eq!(shown("a\\\\\n\nb"), ["1 a\\", "3 b"]);
    assert_eq!(shown("a\\\r\nb\\"), ["1 ab"]);
    assert_eq!(shown("a \\ b"), ["1 a|\\|b"]);
}

#[test]
fn a_token_has_its_place_behind_a_continuation_too() {
    let mut joined = join("x é\\\n  yy".as_bytes());
    let joined = joined.next().unwrap();
    let mut rest = 0;
    let places: Vec<Position> = std::iter::from_fn(|| joined.token(&mut rest)).map(|(token, _)| token.at).collect();
    let at = |line, column| Position { line, column };
    assert_eq!(places, [at(1, 1), at(1, 3), at(2, 3)]);
}

#[test]
fn a_file_of_tokens_stands_for_them_unless_its_name_is_quoted() {
    let files =
        [("main", "x @names,c \"@names\" @ @empty y"), ("names", "a b\n# c\n\"all\",@more\n"), ("more", "d"), ("empty", "# nothing\n")];
    assert_eq!(in_folder(&files), (vec!["main:1 x|a,b,!all,d,c|!@names|@|y".to_owned()], String::new()));
}

#[test]
fn lines_of_other_files_stand_in_the_place_of_what_includes_them() {
    let files = [
        ("main", "a\ninclude sub/one\ninclude_if_exists none\n\"include_if_exists\" sub/two\ninclude_dir dir\nb"),
        ("sub/one", "include two\nc"),
        ("sub/two", "d"),
        ("dir/2.conf", "f"),
        ("dir/1.conf", "e"),
        ("dir/.conf", "no"),
        ("dir/.3.conf", "no"),
        ("dir/4.txt", "no"),
        ("dir/5.conf/x.conf", "no"),
    ];
    let (lines, faults) = in_folder(&files);
    assert_eq!(lines, ["main:1 a", "sub/two:1 d", "sub/one:2 c", "sub/two:1 d", "dir/1.conf:1 e", "dir/2.conf:1 f", "main:6 b"]);
    assert_eq!(faults, "");
}

#[test]
fn what_cannot_be_included_is_shown_where_it_is_asked_for() {
    let files = [("main", "include none\nx @none\ninclude_dir none\ninclude bom\ninclude nul"), ("bom", "\u{feff}a"), ("nul", "a\0b")];
    let (lines, faults) = in_folder(&files);
    assert_eq!(lines, Vec::<String>::new());
    let faults: Vec<&str> = faults.lines().collect();
    assert_eq!(
        faults,
        [
            "main:1:9: found \"none\", which cannot be read (No such file or directory (os error 2)), expected a file that can be read; \
             correct its name or the file",
            "main:2:3: found \"@none\", which cannot be read (No such file or directory (os error 2)), expected a file that can be read; \
             correct its name or the file",
            "main:3:13: found \"none\", which cannot be listed (No such file or directory (os error 2)), expected a file that can be \
             read; correct its name or the file",
            "main:4:9: found \"bom\", which begins with a byte order mark, expected a file that can be read; correct its name or the file",
            "main:5:9: found \"nul\", which holds a NUL, expected a file that can be read; correct its name or the file",
        ]
    );
}

#[test]
fn a_file_that_includes_itself_ends_at_ten() {
    let (lines, faults) = in_folder(&[("main", "a\ninclude main\n")]);
    assert_eq!(lines.len(), 11);
    assert!(faults.contains("more than 10 deep"), "{faults}");
    let (_, faults) = in_folder(&[("main", "include main\ninclude main\n")]);
    assert!(faults.contains("more than 10 deep") && faults.contains("and 1848 more"), "{faults}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_becomes_tokens_without_control_of_lines(text in "[ab @#,\"\\\\/+ \t\r\n]{0,60}") {
        for line in shown(&text) {
            prop_assert!(!line.contains('\n'));
        }
    }
}
