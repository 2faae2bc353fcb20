//! Text from the network, made harmless for those who read it.
//!
//! What can end a line, move a cursor, or make text read otherwise than it is written never leaves this module as itself:
//! control characters, line and paragraph separators, and the invisible or direction-changing characters of Unicode
//! (<https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing>).

use std::fmt::{self, Write};

/// A value as one word of a log line: as it is where nothing can be misread, else quoted and escaped.
pub struct Word<'a>(pub &'a [u8]);

/// A value in double quotes, escaped.
pub(super) struct Quoted<'a>(pub &'a [u8]);

/// A value escaped as Rust would: `\n`, `\u{1b}`, `\"`, and `\xff` for a byte that is not UTF-8.
pub(super) struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:@+[]*$%#~".contains(byte);
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.is_empty() && text.len() <= MAX_SHOWN && self.0.iter().all(plain) => f.write_str(text),
            _ => fmt::Display::fmt(&Quoted(self.0), f),
        }
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.0))
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.get(..MAX_SHOWN).unwrap_or(self.0).utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    c if deceives(c) => write!(f, "{}", c.escape_default())?,
                    c => f.write_char(c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        if self.0.len() > MAX_SHOWN {
            write!(f, "[cut, {} bytes in all]", self.0.len())?;
        }
        Ok(())
    }
}

/// JSON in which nothing can deceive who reads it on a terminal: such characters can only stand in its strings, and are escaped there.
pub fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if deceives(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}"); // a String takes everything
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character can break a line, act on a terminal, or hide.
pub(super) fn deceives(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// How much of one value a log line shows, in bytes: names are at most 63, and a subject has its full text in the audit.
const MAX_SHOWN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_stands_as_it_is_and_every_other_is_quoted() {
        assert_eq!(Word(b"alice").to_string(), "alice");
        assert_eq!(Word(b"").to_string(), r#""""#);
        assert_eq!(Word(b"alice database=prod").to_string(), r#""alice database=prod""#);
        assert_eq!(Word("zoë".as_bytes()).to_string(), r#""zoë""#);
    }

    #[test]
    fn what_could_forge_a_line_is_escaped() {
        let hostile = "a\nb\r\x1b[2J\0\u{2028}\u{202e}\u{85}\"\\".as_bytes();
        assert_eq!(Quoted(hostile).to_string(), r#""a\nb\r\u{1b}[2J\u{0}\u{2028}\u{202e}\u{85}\"\\""#);
        assert_eq!(Quoted(b"a\xffb\xc3").to_string(), r#""a\xffb\xc3""#);
    }

    #[test]
    fn json_for_a_terminal_means_the_same_and_deceives_nobody() {
        let name = "a\u{9b}31m\u{202e}\u{7f}\u{e0041}\n\u{1b}zoë";
        let json = harmless_json(&serde_json::to_string(name).unwrap());
        assert!(!json.chars().any(deceives) && json.contains("zoë"), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        let shown = Quoted(&[b'a'; 100_000]).to_string();
        assert!(shown.len() < 1100 && shown.ends_with("[cut, 100000 bytes in all]\""), "{shown}");
    }
}
