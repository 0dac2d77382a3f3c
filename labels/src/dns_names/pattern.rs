// SPDX-License-Identifier: Apache-2.0
//! A pattern of domain names, and what is made of what its wildcards stand for.

/// Wildcards that one pattern may have: they are called `$1` to `$9`.
const MAX_WILDCARDS: usize = 9;

/// `*` stands for one whole label or any part of one, `**` for one label or more. Matching takes time in proportion to the
/// name's length, whatever the pattern: at most one `*` in a label, at most one `**` in a pattern.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    labels: Vec<Glob>,
    /// The place of `**`.
    many: Option<usize>,
}

#[derive(PartialEq, Eq, Debug)]
enum Glob {
    Exact(Box<str>),
    /// What stands before and after `*`.
    Within(Box<str>, Box<str>),
    Many,
}

impl Pattern {
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let lower = text.to_ascii_lowercase();
        let trimmed = lower.strip_suffix('.').unwrap_or(&lower);
        if trimmed.is_empty() {
            return Err("`pattern` is empty".to_owned());
        }
        if trimmed.len() > 253 {
            return Err("`pattern` is longer than 253 bytes: no name is".to_owned());
        }
        let labels: Vec<Glob> =
            trimmed.split('.').map(|label| glob(label, text)).collect::<Result<_, _>>()?;
        let mut all_many =
            labels.iter().enumerate().filter(|(_, glob)| **glob == Glob::Many).map(|(at, _)| at);
        let many = all_many.next();
        if all_many.next().is_some() {
            return Err(format!("{text:?} has more than one `**`"));
        }
        let pattern = Pattern { labels, many };
        match pattern.wildcards() {
            count if count > MAX_WILDCARDS => {
                Err(format!("{text:?} has more than {MAX_WILDCARDS} wildcards"))
            }
            _ => Ok(pattern),
        }
    }

    /// How many there are to be captured.
    pub fn wildcards(&self) -> usize {
        self.labels.iter().filter(|glob| !matches!(glob, Glob::Exact(_))).count()
    }

    /// What the wildcards stand for if the name, in lower case and without final dot, matches.
    pub fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let count = name.split('.').count();
        let spare = match self.many {
            None if count != self.labels.len() => return None,
            None => 0,
            Some(_) => count.checked_sub(self.labels.len())?,
        };
        let mut captured = Vec::new();
        let mut rest = name;
        for glob in &self.labels {
            let end = match glob {
                Glob::Many => rest.match_indices('.').map(|(at, _)| at).nth(spare),
                _ => rest.find('.'),
            };
            let (here, after) = match end {
                Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
                None => (rest, ""),
            };
            rest = after;
            match glob {
                Glob::Exact(text) if **text == *here => {}
                Glob::Exact(_) => return None,
                Glob::Within(before, after) => {
                    captured.push(here.strip_prefix(&**before)?.strip_suffix(&**after)?);
                }
                Glob::Many => captured.push(here),
            }
        }
        Some(captured)
    }
}

fn glob(label: &str, pattern: &str) -> Result<Glob, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*');
    if label.is_empty() {
        return Err(format!("{pattern:?} has an empty label"));
    }
    if let Some(wrong) = label.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
        return Err(format!("{pattern:?} holds {wrong:?}: labels are letters, digits, `-`, `_` and `*`"));
    }
    match (label, label.split_once('*')) {
        ("**", _) => Ok(Glob::Many),
        (_, None) => Ok(Glob::Exact(label.into())),
        (_, Some((_, after))) if after.contains('*') => {
            Err(format!("{pattern:?} has a label with more than one `*`; `**` stands alone"))
        }
        (_, Some((before, after))) => Ok(Glob::Within(before.into(), after.into())),
    }
}

/// A text in which `$1` to `$9` are what the wildcards stand for, `$0` is the whole name, and `$$` a dollar sign.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(PartialEq, Eq, Debug)]
enum Part {
    Text(Box<str>),
    Capture(usize),
}

impl Template {
    /// `wildcards` is how many the pattern has.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str, wildcards: usize) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '$' {
                plain.push(c);
                continue;
            }
            match chars.next() {
                Some('$') => plain.push('$'),
                Some(digit @ '0'..='9') => {
                    let number = digit as usize - '0' as usize;
                    if number > wildcards {
                        let has = match wildcards {
                            0 => "no wildcard".to_owned(),
                            1 => "one wildcard only".to_owned(),
                            _ => format!("{wildcards} wildcards only"),
                        };
                        return Err(format!("there is no ${number}: the pattern has {has}"));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain).into()));
                    }
                    parts.push(Part::Capture(number));
                }
                _ => return Err("`$` is followed by a digit, or by another `$`".to_owned()),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Template(parts))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// It is the same for every name.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    pub fn fill(&self, name: &str, captured: &[&str]) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.to_string(),
            Part::Capture(0) => name.to_owned(),
            Part::Capture(number) => captured.get(number - 1).copied().unwrap_or_default().to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests;
