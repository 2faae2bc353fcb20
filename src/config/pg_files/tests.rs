use std::fs;

use super::*;
use crate::policy::{AddressPattern, DatabasePattern, Method, UserPattern};

/// What a pg_hba.conf of this text holds, and its faults without the folder.
fn hba(text: &str) -> (Held<Rule>, String) {
    of_file(text, |path, faults| rules(path, Lookup::Possible, faults).unwrap())
}

fn ident(text: &str) -> (Held<MapLine>, String) {
    of_file(text, |path, faults| maps(path, Lookup::Possible, faults).unwrap())
}

fn of_file<T>(text: &str, read: impl Fn(&Path, &mut Faults) -> Held<T>) -> (Held<T>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, text).unwrap();
    let mut faults = Faults::default();
    let held = read(&path, &mut faults);
    let folder = format!("{}/", folder.path().display());
    let faults = if faults.is_empty() { String::new() } else { faults.of(&path).to_string().replace(&folder, "") };
    (held, faults)
}

/// What an operator reads of it, without the folder.
fn notices<T>(held: &Held<T>) -> Vec<String> {
    let shown = |notice: &Notice| {
        let notice = notice.to_string();
        notice.rsplit_once("/f:").map_or(notice.clone(), |(_, rest)| format!("f:{rest}"))
    };
    held.notices.iter().map(shown).collect()
}

fn faults_of(text: &str) -> String {
    let (held, faults) = hba(text);
    assert!(held.items.is_empty(), "{text}");
    faults
}

#[test]
fn a_stock_pg_hba_conf_keeps_the_place_of_each_line_and_lists_those_that_let_nobody_in() {
    let text = "# TYPE DATABASE USER ADDRESS METHOD\nlocal all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n\
                host replication all ::1/128 scram-sha-256\nhostnossl all all all trust\nhostssl all all all cert\n";
    let (held, faults) = hba(text);
    assert_eq!(faults, "");
    let methods: Vec<Method> = held.items.iter().map(|rule| rule.method).collect();
    assert_eq!(methods, [Method::Unsupported("scram-sha-256"), Method::Unsupported("scram-sha-256"), Method::Cert]);
    assert_eq!(
        notices(&held),
        [
            "f:2: local lines do not apply to TLS over TCP: this line matches nobody here",
            "f:3: the method scram-sha-256 asks for no certificate: whom this line matches is refused",
            "f:4: the method scram-sha-256 asks for no certificate: whom this line matches is refused",
            "f:5: hostnossl lines do not apply to TLS over TCP: this line matches nobody here",
        ]
    );
}

#[test]
fn quotes_take_the_meaning_of_keywords_and_groups_and_leave_that_of_a_slash() {
    let (held, faults) = hba(r#"hostssl all,"all",sameuser,"sameuser",samegroup,replication,"/^a$" all,"all",+g,"+g","/^a$" all cert"#);
    assert_eq!(faults, "");
    let rule = held.items.first().unwrap();
    assert_eq!(
        format!("{:?} {:?}", rule.databases, rule.users),
        r#"[All, Name("all"), SameUser, Name("sameuser"), SameRole, Replication, Matching(/^a$)] [All, Name("all"), Group("g"), Name("+g"), Matching(/^a$)]"#
    );
}

#[test]
fn an_address_is_a_block_a_block_with_its_mask_or_a_keyword() {
    let address = |columns: &str| hba(&format!("hostssl a a {columns} cert")).0.items.remove(0).address;
    let network = |block: &str| AddressPattern::Network(block.parse().unwrap());
    assert_eq!(address("10.1.2.3/8"), network("10.0.0.0/8"));
    assert_eq!(address("10.1.2.3 255.255.0.0"), network("10.1.0.0/16"));
    assert_eq!(address("\"10.1.2.3\" 255.255.255.255"), network("10.1.2.3/32"));
    assert_eq!(address("fd00::1/8"), network("fd00::/8"));
    assert_eq!(address("fd00::1 ff00::"), network("fd00::/8"));
    assert_eq!(address("0.0.0.0/0"), network("0.0.0.0/0"));
    assert_eq!(
        (address("samehost"), address("samenet"), address("all")),
        (AddressPattern::SameHost, AddressPattern::SameNet, AddressPattern::All)
    );
    for columns in [
        "10.0.0.0/33",
        "fd00::/129",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10/8",
        "10.0.0.0 255.0.255.0",
        "10.0.0.0 ff00::",
        "db.example",
        ".example",
        "\"all\"",
        "::ffff:10.0.0.0/104",
        "all,samenet",
        "10.0.0.0",
    ] {
        assert!(
            faults_of(&format!("hostssl a a {columns} cert")).starts_with("f:1:13 address: found ")
                || columns.contains(' ')
                || columns == "10.0.0.0",
            "{columns}"
        );
    }
}

#[test]
fn options_mean_what_they_mean_in_postgresql() {
    let rule = |options: &str| {
        let (mut held, faults) = hba(&format!("hostssl all all all {options}"));
        assert_eq!(faults, "", "{options}");
        held.items.remove(0)
    };
    let full = rule("cert map=a,clientname=DN map=b \"clientcert=verify-full\"");
    assert_eq!((full.map.unwrap().as_str(), full.clientname.word()), ("b", "DN"));
    assert_eq!(rule("trust clientcert=verify-full").method, Method::TrustWithCertificate);
    assert_eq!(rule("scram-sha-256 clientcert=verify-full").method, Method::ScramWithCertificate);
    assert_eq!(rule("trust clientcert=verify-ca").method, Method::Unsupported("trust"));
    assert_eq!(rule("trust").method, Method::Unsupported("trust"));
    assert_eq!(rule("ldap ldapserver=x \"ldapprefix=cn=\"").method, Method::Unsupported("ldap"));
    assert!(rule("reject clientcert=verify-ca").clientcert && rule("cert").clientcert && !rule("reject").clientcert);
    for (line, found) in [
        (
            "host all all all cert",
            "f:1:18 method: found \"cert\", expected another method beside host; write hostssl: only TLS has certificates",
        ),
        ("hostssl all all all cert x", "f:1:26 option: found \"x\", expected NAME=VALUE; write an option of the method"),
        ("hostssl all all all cert x=y", "f:1:26 option: found \"x=y\", expected an option of the method cert; remove it"),
        (
            "hostssl all all all cert clientname=SAN-URI",
            "f:1:26 option: found \"clientname=SAN-URI\", expected CN or DN; write one of them; names of subjectAltName are for the rules of the configuration itself",
        ),
        (
            "hostssl all all all cert clientcert=verify-ca",
            "f:1:26 option: found \"clientcert=verify-ca\", expected verify-full; write clientcert=verify-full",
        ),
        (
            "hostssl all all all trust map=m",
            "f:1:27 option: found \"map=m\", which the method trust does not have, expected map beside ident, peer, gss, sspi, cert or oauth; remove it",
        ),
        (
            "host all all all trust clientcert=verify-full",
            "f:1:24 option: found \"clientcert=verify-full\", expected it in a hostssl line; write hostssl: only TLS has certificates",
        ),
        ("hostssl all all all peer", "f:1:21 method: found \"peer\", expected a method for TCP; write peer in local lines alone"),
        (
            "hostssl all all all krb5",
            "f:1:21 method: found \"krb5\", expected an authentication method of PostgreSQL; write cert or reject",
        ),
        (
            "hostsl all all all cert",
            "f:1:1 type: found \"hostsl\", expected host, hostssl, hostnossl, hostgssenc, hostnogssenc or local; write one of them",
        ),
        (
            "hostssl all all",
            "f:1:13 address: found the end of the line, expected a CIDR block, an address with its mask, all, samehost or samenet; write it",
        ),
        (
            "hostssl all /a(?=b) all cert",
            "f:1:13 user: found \"/a(?=b)\", a regular expression that holds (?=: a group of that kind is not in the subset, expected a role's name, all, +ROLE or /REGEX; write it with literals, sets, groups, | ^ $ and greedy quantifiers",
        ),
    ] {
        assert_eq!(faults_of(line), found, "{line}");
    }
}

#[test]
fn an_option_belongs_to_its_method_and_some_methods_need_theirs() {
    for options in [
        "ldap ldapserver=x ldapprefix=y",
        "ldap ldapserver=x ldapbasedn=y ldapsearchfilter=z",
        "ldap \"ldapurl=ldap://x/dc=a?uid\"",
        "radius radiusservers=127.0.0.1 radiussecrets=x",
        "gss include_realm=0 krb_realm=x map=m",
        "pam pamservice=x pam_use_hostname=1",
        "oauth issuer=x scope=y",
        "ident map=x",
        "md5",
    ] {
        assert_eq!(hba(&format!("hostssl all all all {options}")).1, "", "{options}");
    }
    for (options, found) in [
        (
            "md5 ldapserver=x",
            "f:1:25 option: found \"ldapserver=x\", which the method md5 does not have, expected ldapserver beside ldap; remove it",
        ),
        (
            "reject pamservice=x",
            "f:1:28 option: found \"pamservice=x\", which the method reject does not have, expected pamservice beside pam; remove it",
        ),
        (
            "gss compat_realm=1",
            "f:1:25 option: found \"compat_realm=1\", which the method gss does not have, expected compat_realm beside sspi; remove it",
        ),
        ("radius radiusserver=x", "f:1:28 option: found \"radiusserver=x\", expected an option of the method radius; remove it"),
        ("radius radiusservers=x", "f:1:21 method: found \"radius\", expected the option radiussecrets beside it; add it"),
        (
            "ldap ldapserver=x",
            "f:1:21 method: found \"ldap\", expected the option ldapbasedn, ldapprefix or ldapsuffix beside it; add one of them",
        ),
        ("ldap ldapprefix=x ldapbasedn=y", "f:1:21 method: found \"ldap\", expected either ldapprefix or ldapbasedn; remove one of them"),
        ("oauth", "f:1:21 method: found \"oauth\", expected the option scope beside it; add it"),
    ] {
        assert_eq!(faults_of(&format!("hostssl all all all {options}")), found, "{options}");
    }
}

/// What PostgreSQL 15 and 18 say of each was looked at: see the differential test of files out of chance.
#[test]
fn lines_that_do_not_apply_are_read_to_their_end_as_postgresql_reads_them() {
    for line in [
        "local all all ident map=x",
        "local /^a\\y +staff peer",
        "local samerole all trust",
        "hostnossl all all db.example trust",
        "hostnossl all all .example trust",
        "hostnossl all all 127.0.0.1 255.0.255.0 trust",
        "hostnossl all all ::ffff:10.0.0.0/104 trust",
        "hostgssenc all all all gss",
        "hostgssenc replication all samenet reject",
    ] {
        let (held, faults) = hba(line);
        assert_eq!((faults.as_str(), held.items.len(), held.notices.len()), ("", 0, 1), "{line}");
    }
    for (line, found) in [
        ("local all", "f:1:7 user: found the end of the line, expected a role's name, all, +ROLE or /REGEX; write it"),
        ("local all all", "f:1:11 method: found the end of the line, expected an authentication method; write it"),
        (
            "local all all cert",
            "f:1:15 method: found \"cert\", expected another method beside local; write hostssl: only TLS has certificates",
        ),
        ("local all all gss", "f:1:15 method: found \"gss\", expected a method for Unix sockets; write it in host lines alone"),
        (
            "local all all 127.0.0.1/32 trust",
            "f:1:15 method: found \"127.0.0.1/32\", expected an authentication method of PostgreSQL; correct it, or remove the line: it lets nobody in here",
        ),
        (
            "local all all trust map=m",
            "f:1:21 option: found \"map=m\", which the method trust does not have, expected map beside ident, peer, gss, sspi, cert or oauth; remove it",
        ),
        (
            "local /[ all trust",
            "f:1:7 database: found \"/[\", a regular expression that holds a [ without its ], expected one that PostgreSQL understands; correct it",
        ),
        ("hostnossl all all all peer", "f:1:23 method: found \"peer\", expected a method for TCP; write peer in local lines alone"),
        (
            "hostnossl all all all cert",
            "f:1:23 method: found \"cert\", expected another method beside hostnossl; write hostssl: only TLS has certificates",
        ),
        (
            "hostnossl all all all trust clientcert=verify-full",
            "f:1:29 option: found \"clientcert=verify-full\", expected it in a hostssl line; write hostssl: only TLS has certificates",
        ),
        (
            "hostnossl all all db.example/8 trust",
            "f:1:19 address: found \"db.example/8\", which does not begin with an IP address, expected a CIDR block, an address with its mask, all, samehost or samenet; write 10.0.0.0/8, fd00::/8 or all",
        ),
        (
            "hostnossl all all 127.0.0.1/33 trust",
            "f:1:19 address: found \"127.0.0.1/33\", whose mask is out of range, expected a CIDR block, an address with its mask, all, samehost or samenet; write 10.0.0.0/8, fd00::/8 or all",
        ),
        (
            "hostnossl all all 127.0.0.1 trust",
            "f:1:29 address: found \"trust\", expected a mask of the address's family; write it as 255.255.255.0",
        ),
        (
            "hostgssenc all all all,samenet trust",
            "f:1:20 address: found \"all\", with others behind a comma, expected a CIDR block, an address with its mask, all, samehost or samenet; write a line for each",
        ),
    ] {
        assert_eq!(faults_of(line), found, "{line}");
    }
}

#[test]
fn a_group_needs_somebody_to_ask() {
    let mut faults = Faults::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "hostssl all +g all cert\nhostssl samerole all all cert\n").unwrap();
    rules(&path, Lookup::Impossible, &mut faults).unwrap();
    let shown = faults.of(&path).to_string();
    assert!(shown.contains("f:1:13 user: found \"+g\", which depends on role memberships") && shown.contains("f:2:9 database:"), "{shown}");
}

#[test]
fn a_map_line_has_a_system_user_and_a_role_or_what_stands_for_one() {
    let (held, faults) = ident("m \"a b\" bob\nm /^(.*)@x$ \\1_\nm /x all\nm x +g\nm x \"+g\"\nm x /^a\nm x \\1 more\n");
    assert_eq!(faults, "");
    let shown: Vec<String> = held.items.iter().map(|line| format!("{:?}", line.pg_user)).collect();
    let template = format!("{:?}", crate::policy::PgUser::Template { before: [].into(), after: (*b"_").into() });
    assert_eq!(shown, ["Name(\"bob\")", template.as_str(), "All", "Group(\"g\")", "Name(\"+g\")", "Matching(/^a)", "Name(\"\\\\1\")"]);
    assert_eq!(notices(&held), ["f:7: what stands behind the third field is ignored, as by PostgreSQL; remove it, or put a # before it"]);
    let (_, faults) = ident("m\nm a\nm a,b c\nm /^(a|ab)(b?) \\1\n");
    let faults: Vec<&str> = faults.lines().collect();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(
        faults[0].starts_with("f:1:1 system_user: found the end") && faults[1].starts_with("f:2:3 pg_user: found the end"),
        "{faults:?}"
    );
    assert!(
        faults[2].starts_with("f:3:3 system_user: found \"a\", with others")
            && faults[3].starts_with("f:4:16 pg_user: found \"\\\\1\", beside"),
        "{faults:?}"
    );
}

#[test]
fn ten_thousand_lines_are_read() {
    let text: String = (0..10_000).map(|number| format!("hostssl db{number} user{number} 10.0.0.0/8 cert map=m\n")).collect();
    let (held, faults) = hba(&text);
    assert_eq!((held.items.len(), faults.as_str()), (10_000, ""));
    assert_eq!(
        held.items.last().map(|rule| (rule.databases.clone(), rule.users.clone())),
        Some((
            vec![DatabasePattern::Name(crate::types::DatabaseName::exact(b"db9999").unwrap())],
            vec![UserPattern::Name(crate::types::RoleName::exact(b"user9999").unwrap())]
        ))
    );
}

#[test]
fn a_line_of_two_hundred_thousand_names_is_read_and_its_faults_have_their_places() {
    let names: String = (0..200_000).map(|number| format!("u{number},")).collect();
    let (held, faults) = hba(&format!("hostssl all {names}u all cert\nhostssl all \\\n{names}+ all cert\n"));
    assert_eq!(held.items.first().map(|rule| rule.users.len()), Some(200_001));
    let column = names.len().saturating_add(1);
    assert!(faults.starts_with(&format!("f:3:{column} user: found \"+\"")), "{faults}");
}
