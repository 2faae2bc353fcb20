//! Which settings a StartupMessage gives: in parameters of their own, and as a command line inside `options`
//! (src/backend/utils/init/postinit.c, process_startup_options; src/backend/tcop/postgres.c, process_postgres_switches).

use super::StartupParameters;
use crate::types::SettingName;

impl StartupParameters {
    /// The settings by name, in order. `options` is one of them, beside those inside it. Values are not looked at.
    pub fn settings(&self) -> Vec<SettingName> {
        let mut settings = Vec::new();
        for (name, value) in self.iter() {
            match name {
                b"user" | b"database" => continue,
                b"options" => switches(value, &mut settings),
                name if name.starts_with(b"_pq_.") => continue,
                _ => {}
            }
            settings.push(SettingName::new(name));
        }
        settings
    }
}

/// Reads a command line as getopt does: switches can stand together, and an argument in the same word or the next.
fn switches(options: &[u8], settings: &mut Vec<SettingName>) {
    let words = split(options);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some((b'-', mut rest)) = word.split_first().map(|(first, rest)| (*first, rest)) else { continue };
        while let Some((switch, behind)) = rest.split_first() {
            rest = behind;
            if !ARGUED.contains(switch) {
                settings.extend(named_by(*switch, b"").map(|name| SettingName::new(name.as_bytes())));
                continue;
            }
            let argument: &[u8] = if behind.is_empty() { words.next().map_or(b"", Vec::as_slice) } else { behind };
            match switch {
                b'c' | b'-' => settings.push(assigned(argument)),
                _ => settings.extend(named_by(*switch, argument).map(|name| SettingName::new(name.as_bytes()))),
            }
            break;
        }
    }
}

/// The name in `name=value`, where `-` stands for `_` (src/backend/utils/misc/guc.c, ParseLongOption).
fn assigned(argument: &[u8]) -> SettingName {
    let name = argument.split(|byte| *byte == b'=').next().unwrap_or_default();
    let name: Vec<u8> = name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
    SettingName::new(&name)
}

/// Words between white space; a backslash takes the meaning of what follows it (postinit.c, pg_split_opts).
fn split(options: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut escaped = false;
    for byte in options {
        if is_space(*byte) && !escaped {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        escaped = *byte == b'\\' && !escaped;
        if !escaped {
            word.push(*byte);
        }
    }
    words.extend(word);
    words
}

/// C's isspace in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The switches that take an argument, of getopt's `B:bC:c:D:d:EeFf:h:ijk:lN:nOPp:r:S:sTt:v:W:-:`.
const ARGUED: &[u8] = b"BCcDdfhkNprStvW-";

/// The settings behind a short switch (postgres.c, set_debug_options, set_plan_disabling_options, get_stats_option_name). What only the
/// postmaster can set is refused by PostgreSQL itself.
fn named_by(switch: u8, argument: &[u8]) -> impl Iterator<Item = &'static str> {
    let names: &'static [&'static str] = match switch {
        b'd' => &["log_min_messages", "log_statement", "debug_print_parse", "debug_print_plan", "debug_print_rewritten"],
        b'e' => &["datestyle"],
        b'f' => match argument.first() {
            Some(b's') => &["enable_seqscan"],
            Some(b'i') => &["enable_indexscan"],
            Some(b'o') => &["enable_indexonlyscan"],
            Some(b'b') => &["enable_bitmapscan"],
            Some(b't') => &["enable_tidscan"],
            Some(b'n') => &["enable_nestloop"],
            Some(b'm') => &["enable_mergejoin"],
            Some(b'h') => &["enable_hashjoin"],
            Some(_) | None => &[],
        },
        b'O' => &["allow_system_table_mods"],
        b'P' => &["ignore_system_indexes"],
        b'S' => &["work_mem"],
        b's' => &["log_statement_stats"],
        b't' => &["log_parser_stats", "log_planner_stats", "log_executor_stats"],
        b'W' => &["post_auth_delay"],
        _ => &[],
    };
    names.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(options: &str) -> Vec<String> {
        let parameters = StartupParameters::decode(format!("options\0{options}\0\0").as_bytes()).unwrap();
        let mut names: Vec<String> = parameters.settings().iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names.pop().as_deref(), Some("options"));
        names
    }

    #[test]
    fn a_parameter_of_its_own_is_a_setting_in_lower_case() {
        let body = b"user\0alice\0Search_Path\0x\0database\0app\0_pq_.x\x001\0sort_mem\x001\0\0";
        let names = StartupParameters::decode(body).unwrap().settings();
        assert_eq!(names, [SettingName::new(b"search_path"), SettingName::new(b"work_mem")]);
    }

    #[test]
    fn every_way_to_give_a_setting_inside_options_is_seen() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("-c search_path=x", &["search_path"]),
            ("-csearch_path=x", &["search_path"]),
            ("--search_path=x", &["search_path"]),
            ("--search-path=x", &["search_path"]),
            ("-c  Search-Path=x -c role=y", &["search_path", "role"]),
            ("-Pc search_path=x", &["ignore_system_indexes", "search_path"]),
            ("-c search\\_path=x", &["search_path"]),
            ("-c search_path=a\\ b -S 1", &["search_path", "work_mem"]),
            ("-fs -f h -e", &["enable_seqscan", "enable_hashjoin", "datestyle"]),
            ("\t-c\nrole=x", &["role"]),
            ("-- role=x", &["role"]),
            ("x -c role=y", &["role"]),
            ("-c", &[""]),
            ("-", &[]),
        ];
        for (options, expected) in cases {
            assert_eq!(inside(options), *expected, "{options:?}");
        }
    }
}
