//! The status page for people: one table, no script, nothing from elsewhere.

use std::fmt::Write;

use super::view::Status;

/// The page's security policy: it may show itself, and nothing else.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page.
pub(super) fn render(status: &Status) -> String {
    let mut rows = String::new();
    for (name, value) in lines(status) {
        // A String takes everything.
        let _ = write!(rows, "<tr><th>{}</th><td>{}</td></tr>", escaped(&name), escaped(&value));
    }
    let (class, word) = if status.ready { ("ready", "ready") } else { ("unready", "not ready") };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\"><title>Postern: {word}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}}th{{text-align:left;padding-right:2rem;\
         font-weight:normal;color:#555;vertical-align:top}}td{{font-variant-numeric:tabular-nums}}.ready{{color:#176c2b}}\
         .unready{{color:#a3180d}}</style></head><body><h1>Postern is <span class=\"{class}\">{word}</span></h1><table>{rows}</table>\
         </body></html>\n"
    )
}

/// What is shown, line by line: the page's rows, and those of `postern status`.
pub fn lines(status: &Status) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    if let Some(reason) = &status.reason {
        line("not ready", reason.clone());
    }
    line("version", status.version.clone());
    line("process", format!("{}, since {} ({})", status.pid, status.started, span(status.uptime_seconds)));
    line("configuration", status.config.clone());
    line("listening on", status.listen.join(", "));
    let backend = &status.backend;
    let state = match backend.up {
        Some(true) => "answers",
        Some(false) => "does not answer",
        None => "not looked at yet",
    };
    let since = backend.since.as_ref().map(|since| format!(", since {since}")).unwrap_or_default();
    line("backend", format!("{}: {state}{since}", backend.address));
    line("sessions", format!("{} of at most {}", status.sessions.active, status.sessions.limit));
    line("bytes", format!("{} from clients, {} to clients", status.sessions.bytes_in, status.sessions.bytes_out));
    line("connections", format!("{} accepted", status.connections.accepted));
    for (reason, count) in &status.connections.refused {
        line(&format!("refused: {reason}"), count.to_string());
    }
    for (reason, count) in &status.sessions.ended {
        line(&format!("ended: {reason}"), count.to_string());
    }
    let certificates = &status.certificates;
    let mut valid = |name: &str, expiry: &Option<String>| {
        if let Some(expiry) = expiry {
            line(name, format!("valid until {expiry}"));
        }
    };
    valid("server certificate", &certificates.server);
    for sni in &certificates.sni {
        valid(&format!("certificate for {}", sni.hosts.join(", ")), &sni.not_after);
    }
    valid("client CA", &certificates.client_ca);
    valid("CRL", &certificates.crl);
    if let Some(reload) = &status.reload {
        line("last reload", format!("{} at {}, by {}", reload.result, reload.at, reload.trigger));
        reload.faults.iter().for_each(|fault| line("reload", fault.clone()));
        if !reload.needs_restart.is_empty() {
            line("takes a restart", reload.needs_restart.join(", "));
        }
    }
    let hardening = &status.hardening;
    line("user", hardening.user.clone());
    line("harden", format!("{}: in force: {}", hardening.mode, listed(&hardening.in_force)));
    for missing in &hardening.not_in_force {
        line("not in force", missing.clone());
    }
    for notice in &status.notices {
        line("notice", notice.clone());
    }
    lines
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// `3 d 04:05:06`.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days} d {hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
