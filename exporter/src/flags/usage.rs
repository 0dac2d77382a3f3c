// SPDX-License-Identifier: Apache-2.0
//! What to say when the command line or the environment is wrong: one line that names the flag.

use std::error::Error;
use std::ffi::OsString;

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The reason to end before anything was started.
#[derive(Debug, PartialEq, Eq)]
pub enum Usage {
    /// `--help` or `--version`: print and exit 0.
    Show(String),
    /// A mistake, in one line: exit 64 (`EX_USAGE`).
    Mistake(String),
}

impl Usage {
    /// A value that a flag does not take.
    pub fn invalid(flag: &str, value: &str, reason: &str) -> Self {
        Self::mistake(&format!("{flag}: {value:?}: {reason}"))
    }

    fn mistake(text: &str) -> Self {
        let line: Vec<_> = text.split_whitespace().collect();
        Self::Mistake(format!("flowgauge: {}", line.join(" ")))
    }

    pub(super) fn from_clap(error: &clap::Error, command: &clap::Command, arguments: &[OsString]) -> Self {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Self::Show(error.render().to_string());
        }
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let flag = text(ContextKind::InvalidArg)
            .and_then(|name| name.split([' ', '=', '[']).next())
            .unwrap_or_default();
        let origin = match environment_variable(command, flag) {
            Some(variable) if !given(flag, arguments) && std::env::var_os(variable).is_some() => {
                format!("{flag} (from the environment variable {variable})")
            }
            _ => flag.to_owned(),
        };
        let value = text(ContextKind::InvalidValue).unwrap_or_default();
        match error.kind() {
            ErrorKind::ValueValidation => {
                let reason = error.source().map_or_else(|| "is not valid".to_owned(), ToString::to_string);
                Self::invalid(&origin, value, &reason)
            }
            ErrorKind::InvalidValue if value.is_empty() => Self::mistake(&format!("{origin}: needs a value")),
            ErrorKind::InvalidValue => {
                let allowed = match error.get(ContextKind::ValidValue) {
                    Some(ContextValue::Strings(values)) => format!("; allowed: {}", values.join(", ")),
                    _ => String::new(),
                };
                Self::invalid(&origin, value, &format!("is not valid{allowed}"))
            }
            ErrorKind::UnknownArgument if flag.starts_with('-') => {
                let hint = match error.get(ContextKind::SuggestedArg) {
                    Some(ContextValue::String(known)) => format!("; did you mean {known}?"),
                    _ => "; see flowgauge --help".to_owned(),
                };
                Self::mistake(&format!("{flag}: no such flag{hint}"))
            }
            ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
                let word = text(ContextKind::InvalidSubcommand).unwrap_or(flag);
                Self::mistake(&format!("{word:?}: no such command; see flowgauge --help"))
            }
            ErrorKind::MissingRequiredArgument => {
                let missing = match error.get(ContextKind::InvalidArg) {
                    Some(ContextValue::Strings(names)) => names.join(", "),
                    _ => "something".to_owned(),
                };
                Self::mistake(&format!("{missing}: is needed as well"))
            }
            ErrorKind::ArgumentConflict => Self::mistake(&format!("{origin}: is given more than once")),
            ErrorKind::TooManyValues => Self::mistake(&format!("{origin}: takes no value")),
            _ => {
                let rendered = error.render().to_string();
                let first = rendered.lines().next().unwrap_or_default();
                Self::mistake(first.strip_prefix("error: ").unwrap_or(first))
            }
        }
    }
}

/// Refuses environment variables that are not text, which clap reports without a name.
pub(super) fn require_unicode(command: &clap::Command) -> Result<(), Usage> {
    for (flag, variable) in
        arguments_of(command).filter_map(|arg| Some((arg.get_long()?, arg.get_env()?.to_str()?)))
    {
        if let Some(value) = std::env::var_os(variable)
            && value.to_str().is_none()
        {
            let origin = format!("--{flag} (from the environment variable {variable})");
            return Err(Usage::invalid(&origin, &value.to_string_lossy(), "is not UTF-8"));
        }
    }
    Ok(())
}

fn environment_variable<'a>(command: &'a clap::Command, flag: &str) -> Option<&'a str> {
    let named = |arg: &&Arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
    arguments_of(command).find(named)?.get_env()?.to_str()
}

/// Those of the program and of its commands.
fn arguments_of(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments))
}

/// Whether the flag stands on the command line, in which case the environment is not asked.
fn given(flag: &str, arguments: &[OsString]) -> bool {
    arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
        argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}
