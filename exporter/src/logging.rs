// SPDX-License-Identifier: Apache-2.0
//! Log lines on standard error: logfmt, or one JSON object a line. Whatever text an event carries, it stays one line.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::flags::{LogFormat, LogLevel};

/// Sends the program's events to standard error. Libraries are heard from level warn on.
///
/// # Errors
/// When the program has a subscriber already.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), TryInitError> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let wanted = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("flowgauge", level)
        .with_target("libbpf", level);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { format })
        .with_writer(std::io::stderr)
        // A closed standard error must not become a panic.
        .log_internal_errors(false)
        .with_filter(wanted);
    tracing_subscriber::registry().with(lines).try_init()?;
    // One line for a panic too: it is answered for where it happens, and must not tear the log.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let payload = panic.payload();
        let reason =
            payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, reason = reason.unwrap_or("unknown"), "panic");
    }));
    Ok(())
}

/// Writes an event as one line: `ts`, `level`, `msg`, then its fields in the order they were given.
struct Lines {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            message: fields.message,
            fields: fields.others,
        };
        match self.format {
            LogFormat::Logfmt => line.logfmt(&mut writer)?,
            LogFormat::Json => line.json(&mut writer)?,
        }
        writer.write_char('\n')
    }
}

/// What an event carries.
struct Line {
    time: SystemTime,
    level: Level,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// A number or a truth value: never needs quotes.
    Plain(String),
}

impl Line {
    fn logfmt(&self, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "ts={} level={} msg=", self.timestamp(), self.level_name())?;
        logfmt_text(out, &self.message)?;
        for (name, value) in &self.fields {
            write!(out, " {name}=")?;
            match value {
                Value::Text(text) => logfmt_text(out, text)?,
                Value::Plain(text) => out.write_str(text)?,
            }
        }
        Ok(())
    }

    fn json(&self, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, r#"{{"ts":"{}","level":"{}","msg":"#, self.timestamp(), self.level_name())?;
        json_text(out, &self.message)?;
        for (name, value) in &self.fields {
            out.write_char(',')?;
            json_text(out, name)?;
            out.write_char(':')?;
            match value {
                Value::Text(text) => json_text(out, text)?,
                Value::Plain(text) => out.write_str(text)?,
            }
        }
        out.write_char('}')
    }

    fn timestamp(&self) -> humantime::Rfc3339Timestamp {
        humantime::format_rfc3339_millis(self.time)
    }

    const fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        }
    }
}

/// Bare where that is unambiguous, else in quotes with escapes. Besides control characters, those that a terminal or a
/// line splitter takes for the end of a line, or that turn the direction of writing, are escaped.
fn logfmt_text(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let bare = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(bare) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if misleads(c) => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

fn json_text(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let quoted = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    for c in quoted.chars() {
        if misleads(c) { write!(out, "\\u{:04x}", u32::from(c))? } else { out.write_char(c)? }
    }
    Ok(())
}

/// All of these lie below U+10000, so that four digits say them.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Plain(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, Value::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.take(field, Value::Text(text));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let plain = value.is_finite().then(|| Value::Plain(value.to_string()));
        self.take(field, plain.unwrap_or_else(|| Value::Text(value.to_string())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, Value::Plain(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Line, SystemTime, Value};

    fn line(message: &str, fields: Vec<(&'static str, Value)>) -> Line {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123);
        Line { time, level: Level::WARN, message: message.to_owned(), fields }
    }

    fn logfmt(message: &str, fields: Vec<(&'static str, Value)>) -> String {
        let mut out = String::new();
        line(message, fields).logfmt(&mut out).unwrap();
        out
    }

    #[test]
    fn a_plain_line_reads_well() {
        let fields = vec![("addr", Value::Text("[::]:10950".into())), ("n", Value::Plain("3".into()))];
        let expected = r#"ts=2023-11-14T22:13:20.123Z level=warn msg="port taken" addr=[::]:10950 n=3"#;
        assert_eq!(logfmt("port taken", fields), expected);
    }

    #[test]
    fn hostile_text_cannot_break_out_of_its_value() {
        let table = [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a=b", r#""a=b""#),
            ("say \"x\"", r#""say \"x\"""#),
            ("back\\slash", r#""back\\slash""#),
            ("two\nlines\r\n", r#""two\nlines\r\n""#),
            ("\u{1b}[31mred\0", r#""\u001b[31mred\u0000""#),
            ("nel\u{85}ls\u{2028}ps\u{2029}", r#""nel\u0085ls\u2028ps\u2029""#),
            ("rtl\u{202e}", r#""rtl\u202e""#),
            ("größe", r#""größe""#),
        ];
        for (text, expected) in table {
            let got = logfmt("m", vec![("v", Value::Text(text.to_owned()))]);
            assert_eq!(got.split_once(" v=").map(|(_, v)| v), Some(expected), "{text:?}");
            assert!(!got.contains(['\n', '\r', '\u{85}', '\u{2028}']), "{got:?}");
        }
    }

    #[test]
    fn json_is_one_valid_object_whatever_the_text() {
        let hostile = "a\"b\\c\nd\u{2028}\u{1b}\u{85}";
        let mut out = String::new();
        line(hostile, vec![("v", Value::Text(hostile.into())), ("n", Value::Plain("1.5".into()))])
            .json(&mut out)
            .unwrap();
        assert!(!out.contains(['\n', '\u{2028}', '\u{85}']), "{out:?}");
        let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(parsed["msg"], hostile);
        assert_eq!(parsed["v"], hostile);
        assert_eq!(parsed["n"], 1.5);
        assert_eq!(parsed["level"], "warn");
        assert_eq!(parsed["ts"], "2023-11-14T22:13:20.123Z");
    }
}
