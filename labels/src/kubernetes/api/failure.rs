// SPDX-License-Identifier: Apache-2.0
//! What may go wrong with a request, in words for people.

use std::error::Error;
use std::time::Duration;

/// Why a request or a watch failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The API server says no.
    Refused { code: u16, message: String, retry_after: Option<Duration> },
    /// What the watch would go on from is too old: HTTP status 410.
    Gone,
    /// No connection, or it broke before an answer.
    Unreachable(String),
    /// The credentials cannot be had.
    Credentials(String),
    /// No answer, or not all of it, in this time.
    Late(Duration),
    /// The answer broke off.
    Broken(String),
    /// The answer is not what the API gives.
    Garbage(String),
    /// The server ended a watch at once, and without a word.
    Ended,
    /// Not even a bookmark for this long.
    Silent(Duration),
}

impl Failure {
    /// One line: what failed, why, and how to mend it. `doing` is `listing` or `watching`.
    pub(super) fn text(&self, doing: &str, resource: &str, group: &str, server: &str) -> String {
        let what = format!("{doing} {resource}");
        let of_group = if group.is_empty() { String::new() } else { format!(" of API group {group}") };
        match self {
            Failure::Refused { code: 401, message, .. } => format!(
                "{what}: {server} does not accept the credentials (401 {message}): renew the token or client certificate"
            ),
            Failure::Refused { code: 403, .. } => format!(
                "{what} is forbidden for this token: the ClusterRole needs list, watch on {resource}{of_group}"
            ),
            Failure::Refused { code: 404, .. } => {
                format!("{what}: {server} does not serve {resource}{of_group} (404)")
            }
            Failure::Refused { code, message, .. } => format!("{what}: {server} answers {code} {message}"),
            Failure::Gone => {
                format!("{what}: the API server's history is too short to go on (410), listing anew")
            }
            Failure::Unreachable(why) => format!("{what}: cannot reach the API server at {server}: {why}"),
            Failure::Credentials(why) => format!("{what}: no credentials for {server}: {why}"),
            Failure::Late(limit) => format!("{what}: no complete answer from {server} within {limit:?}"),
            Failure::Broken(why) => format!("{what}: the answer of {server} broke off: {why}"),
            Failure::Garbage(why) => {
                format!("{what}: {server} does not answer as a Kubernetes API server: {why}")
            }
            Failure::Ended => format!("{what}: {server} ends watches as soon as they begin"),
            Failure::Silent(limit) => format!("{what}: nothing from {server} for {limit:?}"),
        }
    }

    /// Routine where it happens once: nothing is missed that the next request does not bring.
    pub(super) fn is_routine(&self) -> bool {
        matches!(self, Failure::Gone | Failure::Broken(_) | Failure::Ended | Failure::Silent(_))
    }

    /// Failures of one class are logged once: what only time mends, and each refusal that people must mend.
    pub(super) fn class(&self) -> u16 {
        match self {
            Failure::Refused { code: code @ (401 | 403 | 404), .. } => *code,
            Failure::Credentials(_) => 401,
            _ => 0,
        }
    }
}

/// An error with what caused it, in one line. Libraries often repeat the cause in their own words.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    one_line(&text)
}

/// The first words of what another program says, safe to print in a line.
pub(super) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MAX_CHARS {
            let end = (0..=MAX_CHARS).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Failure {
        Failure::Refused { code, message: "why not".to_owned(), retry_after: None }
    }

    #[test]
    fn says_how_to_mend_it() {
        let text = |f: &Failure| f.text("listing", "endpointslices", "discovery.k8s.io", "https://10.0.0.1");
        assert_eq!(
            text(&refused(403)),
            "listing endpointslices is forbidden for this token: the ClusterRole needs list, watch on \
             endpointslices of API group discovery.k8s.io"
        );
        assert_eq!(
            refused(403).text("watching", "pods", "", "x"),
            "watching pods is forbidden for this token: the ClusterRole needs list, watch on pods"
        );
        assert!(text(&refused(401)).contains("(401 why not): renew the token"));
        assert!(text(&refused(500)).ends_with("https://10.0.0.1 answers 500 why not"));
        assert!(text(&Failure::Silent(Duration::from_secs(100))).ends_with("for 100s"));
    }

    #[test]
    fn what_others_say_is_one_short_line() {
        assert_eq!(one_line(" <html>\r\n\t502\u{1b}[31m Bad\0Gateway "), "<html> 502 [31m Bad Gateway");
        let long = one_line(&"ü".repeat(10_000));
        assert!(long.len() <= 304 && long.ends_with("ü…"), "{long}");
    }

    #[test]
    fn causes_are_not_said_twice() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(kube::Error::Service(Box::new(inner)));
        assert_eq!(chain(&outer), "ServiceError: refused");
    }
}
