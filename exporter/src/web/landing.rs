// SPDX-License-Identifier: Apache-2.0
//! The page at `/`: what runs, how it fares, where to go. Plain HTML, nothing loaded from elsewhere.

use crate::source::ComponentStatus;

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Flowgauge</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse }
th, td { border: 1px solid #8888; padding: .25rem .75rem; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere }
.failed { font-weight: bold; color: #c22 }
</style>
</head>
<body>
<h1>Flowgauge</h1>
<p>What the network does to the services of this node.</p>
";

/// The page for these components. Texts are escaped: some come from names that others chose.
pub fn page(components: &[ComponentStatus], telemetry_path: &str) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("<p>Version ");
    escape(&mut page, env!("CARGO_PKG_VERSION"));
    page.push_str(", revision ");
    escape(&mut page, env!("FLOWGAUGE_REVISION"));
    page.push_str("</p>\n<ul>\n<li><a href=\"");
    escape(&mut page, telemetry_path);
    page.push_str("\">Metrics</a></li>\n<li><a href=\"/-/healthy\">Healthy</a></li>\n");
    page.push_str("<li><a href=\"/-/ready\">Ready</a></li>\n</ul>\n");
    if components.is_empty() {
        page.push_str("<p>No collector is enabled.</p>\n");
    } else {
        page.push_str("<table>\n<tr><th>Component</th><th>Name</th><th>State</th><th>Detail</th></tr>\n");
        for component in components {
            row(&mut page, component);
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn row(page: &mut String, component: &ComponentStatus) {
    let state = component.state.as_str();
    page.push_str("<tr>");
    for (class, text) in
        [("", component.kind), ("", component.name.as_str()), (state, state), ("", component.detail.as_str())]
    {
        page.push_str(if class.is_empty() { "<td>" } else { "<td class=\"" });
        if !class.is_empty() {
            page.extend([class, "\">"]);
        }
        escape(page, text);
        page.push_str("</td>");
    }
    page.push_str("</tr>\n");
}

fn escape(page: &mut String, text: &str) {
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
    use super::page;
    use crate::source::{ComponentStatus, State};

    #[test]
    fn hostile_names_stay_text() {
        let component = ComponentStatus {
            kind: "collector",
            name: "<script>alert(1)</script>".to_owned(),
            state: State::Failed,
            detail: "\"'&<b>".to_owned(),
        };
        let page = page(&[component], "/metrics");
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("<td>&quot;&#39;&amp;&lt;b&gt;</td>"), "{page}");
        assert!(page.contains("<td class=\"failed\">failed</td>"), "{page}");
        assert!(page.contains("<a href=\"/metrics\">Metrics</a>"), "{page}");
        assert!(!page.contains("http"), "nothing from elsewhere: {page}");
    }
}
