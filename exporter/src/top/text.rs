// SPDX-License-Identifier: Apache-2.0
//! Text of others on its way to a terminal.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What stands for a character that must not reach a terminal.
const REPLACED: char = '\u{fffd}';

/// Longest name that is kept; those of Flowgauge are shorter.
const MAX_CHARS: usize = 512;

/// `text` without anything that a terminal would obey, or that would hide or reorder what stands beside it: control
/// characters (escape sequences begin with one), and all that takes no room of its own, such as marks of direction.
pub fn clean(text: &str) -> String {
    let mut clean: String =
        text.chars().take(MAX_CHARS).map(|c| if is_plain(c) { c } else { REPLACED }).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        clean.push('…');
    }
    clean
}

fn is_plain(c: char) -> bool {
    !matches!(c, '\u{2028}' | '\u{2029}') && c.width().is_some_and(|width| width > 0)
}

/// `json`, which must be valid JSON, in which all that [`clean`] would replace is written as `\u…`: the same document, and
/// harmless in a terminal.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let harmless = |c: char| is_plain(c) || matches!(c, '\n' | '\r' | '\t');
    if json.chars().all(harmless) {
        return Cow::Borrowed(json);
    }
    // Such a character stands inside a string, since nothing else in JSON may have one, and never behind a backslash.
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if harmless(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(escaped)
}

/// `text`, cut to `width` columns of a terminal; what is cut ends in `…`.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut room = width.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let needed = c.width().unwrap_or_default();
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    });
    let mut cut: String = kept.collect();
    if width > 0 {
        cut.push('…');
    }
    Cow::Owned(cut)
}

/// As [`fit`], of a server's name: its port, behind the last colon, stays where there is room for more than that.
pub fn fit_server(text: &str, width: usize) -> Cow<'_, str> {
    match text.rsplit_once(':') {
        Some((name, port)) if text.width() > width && port.width() + 4 <= width => {
            Cow::Owned(format!("{}:{port}", fit(name, width - port.width() - 1)))
        }
        _ => fit(text, width),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_CHARS, clean, escape_json, fit, fit_server};

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(clean("check out"), "check out");
        assert_eq!(
            clean("a\u{1b}[2Jb\u{7}\r\n\u{9b}31m\u{7f}"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}\u{fffd}31m\u{fffd}"
        );
        assert_eq!(
            clean("x\u{202e}y\u{200d}\u{feff}\u{2028}\u{301}"),
            "x\u{fffd}y\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(clean("Größe 東"), "Größe 東");
        assert_eq!(clean(&"x".repeat(10_000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn json_stays_the_same_document() {
        let json = "{\"a\u{9b}\": \"\u{7f}\u{202e}\\n\u{e0001}\",\n\t\"b\": 1}";
        let escaped = escape_json(json);
        assert_eq!(escaped, "{\"a\\u009b\": \"\\u007f\\u202e\\n\\udb40\\udc01\",\n\t\"b\": 1}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(json), parse(&escaped));
    }

    #[test]
    fn cut_to_columns() {
        assert_eq!(fit("checkout", 8), "checkout");
        assert_eq!(fit("checkout", 5), "chec…");
        assert_eq!((fit("checkout", 1), fit("checkout", 0)), ("…".into(), "".into()));
        assert_eq!(fit_server("payments.example.com:443", 12), "payment…:443");
        assert_eq!(
            (fit_server("payments:443", 12), fit_server("payments:443", 6)),
            ("payments:443".into(), "payme…".into())
        );
        assert_eq!(fit("東京都", 5), "東京…");
        assert_eq!(fit("東京都", 4), "東…");
    }

    proptest! {
        #[test]
        fn whatever_comes(text in "\\PC*|.*", width in 0_usize..20) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(char::is_control));
            prop_assert!(unicode_width::UnicodeWidthStr::width(&*fit(&cleaned, width)) <= width);
            let json = serde_json::to_string(&text).unwrap();
            let escaped = escape_json(&json).into_owned();
            prop_assert!(!escaped.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
