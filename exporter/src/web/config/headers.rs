// SPDX-License-Identifier: Apache-2.0
//! `http_server_config`: headers of every answer, of those that the format knows.

use flowgauge_labels::Fault;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// As it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    http2: Option<bool>,
    headers: Option<Headers>,
}

/// The headers that the format knows, spelt as it does.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    #[serde(rename = "Content-Security-Policy")]
    content_security_policy: Option<Spanned<String>>,
    #[serde(rename = "X-Frame-Options")]
    frame_options: Option<Spanned<String>>,
    #[serde(rename = "X-Content-Type-Options")]
    content_type_options: Option<Spanned<String>>,
    #[serde(rename = "X-XSS-Protection")]
    xss_protection: Option<Spanned<String>>,
    #[serde(rename = "Strict-Transport-Security")]
    strict_transport_security: Option<Spanned<String>>,
}

impl HttpSection {
    /// Name and value of each header that is not blank.
    pub fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Fault> {
        let Some(headers) = &self.headers else { return Ok(Vec::new()) };
        // The values that the format takes; none where any will do.
        let known: [(_, _, &[&str]); 5] = [
            (header::CONTENT_SECURITY_POLICY, &headers.content_security_policy, &[]),
            (header::X_FRAME_OPTIONS, &headers.frame_options, &["deny", "sameorigin"]),
            (header::X_CONTENT_TYPE_OPTIONS, &headers.content_type_options, &["nosniff"]),
            (header::X_XSS_PROTECTION, &headers.xss_protection, &[]),
            (header::STRICT_TRANSPORT_SECURITY, &headers.strict_transport_security, &[]),
        ];
        let mut set = Vec::new();
        for (name, text, allowed) in known {
            let Some(text) = text.as_ref().filter(|text| !text.value.is_empty()) else { continue };
            let one_of = allowed.is_empty() || allowed.iter().any(|one| text.value.eq_ignore_ascii_case(one));
            if !one_of {
                let what = format!("{name}: {:?} is none of {}", text.value, allowed.join(", "));
                return Err(Fault::at(text.referenced, what));
            }
            let value = HeaderValue::from_str(&text.value).map_err(|_| {
                Fault::at(text.referenced, format!("{name}: {:?} cannot be a header's value", text.value))
            })?;
            set.push((name, value));
        }
        Ok(set)
    }

    /// HTTP/2 is nothing that a scrape needs, and much that an attacker could use.
    pub fn ignored(&self) -> Option<String> {
        (self.http2 == Some(true)).then(|| "http2 is ignored: HTTP/1.1 alone is spoken".to_owned())
    }
}
