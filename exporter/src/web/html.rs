// SPDX-License-Identifier: Apache-2.0
//! What all pages have in common: head, navigation, style, and text that stays text.
//!
//! Nothing is loaded from elsewhere, and the Content-Security-Policy allows nothing but the style and the script that carry this
//! answer's own nonce.

use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

/// A small icon: bars.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M3 14V9m5 5V3m5 11V7' stroke='%232563c4' stroke-width='3'/%3E%3C/svg%3E";

/// A page that is being written.
pub struct Page {
    text: String,
    nonce: String,
}

impl Page {
    /// Begins a page. `here` is the path of the page in the navigation; `flows` whether there is a drill-down.
    pub fn new(title: &str, node: &str, here: &str, telemetry_path: &str, flows: bool) -> Self {
        let mut page = Page { text: String::with_capacity(64 << 10), nonce: nonce() };
        page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>").text(title);
        page.raw("</title>\n<link rel=\"icon\" href=\"").raw(ICON).raw("\">\n<style nonce=\"");
        let nonce = page.nonce.clone();
        page.raw(&nonce).raw("\">\n").raw(STYLE).raw("</style>\n</head>\n<body>\n");
        page.raw("<header><div class=\"bar\"><a class=\"brand\" href=\"/\">Flowgauge</a>");
        page.raw("<span class=\"node\">").text(node).raw("</span><nav aria-label=\"Pages\">");
        let flows = flows.then_some(("/flows?by=edge", "Flows"));
        for (path, name) in [("/", "Overview")].into_iter().chain(flows).chain([(telemetry_path, "Metrics")])
        {
            page.raw("<a href=\"").text(path).raw("\"");
            page.raw(if path.split('?').next() == Some(here) { " aria-current=\"page\">" } else { ">" })
                .raw(name)
                .raw("</a>");
        }
        page.raw("</nav></div></header>\n<main>\n");
        page
    }

    /// Markup.
    pub fn raw(&mut self, markup: &str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// Text, which may be anybody's.
    pub fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.text, text);
        self
    }

    /// A number as it is.
    pub fn number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{number}");
        self
    }

    /// Ends the page, with a script.
    pub fn finish(mut self, script: &str) -> Finished {
        self.raw("</main>\n");
        if !script.is_empty() {
            let nonce = self.nonce.clone();
            self.raw("<script nonce=\"").raw(&nonce).raw("\">\n").raw(script).raw("</script>\n");
        }
        self.raw("</body>\n</html>\n");
        Finished { body: self.text, policy: policy(&self.nonce) }
    }
}

/// A page, and the header that says what it may do.
pub struct Finished {
    /// HTML.
    pub body: String,
    /// Content-Security-Policy.
    pub policy: String,
}

fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// 128 bits that nobody can guess. Without any, what has a nonce does not run: the page is plain, and still there.
fn nonce() -> String {
    let mut bytes = [0_u8; 16];
    match rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => {}
        _ => return "none".to_owned(),
    }
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text as HTML, in elements and in attributes with quotes.
pub fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_never_the_same() {
        let all: std::collections::HashSet<_> = (0..1000).map(|_| nonce()).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|nonce| nonce.len() == 32));
    }

    #[test]
    fn the_policy_allows_this_page_alone() {
        let mut page = Page::new("<t>", "n\"o", "/", "/metrics", true);
        page.text("<b>'&");
        let page = page.finish("go()");
        let nonce = page.policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(page.body.contains(&format!("<style nonce=\"{nonce}\">")));
        assert!(page.body.contains(&format!("<script nonce=\"{nonce}\">\ngo()</script>")));
        assert!(page.body.contains("<title>&lt;t&gt;</title>") && page.body.contains("&lt;b&gt;&#39;&amp;"));
        assert!(page.body.contains("n&quot;o") && !page.policy.contains("unsafe"));
        assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="));
    }
}
