// SPDX-License-Identifier: Apache-2.0
//! What an exporter is asked.

use std::net::IpAddr;

use crate::flags::{RowsBy, TopFlags, Window};

/// A question for flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What a row is.
    pub by: RowsBy,
    /// How far back.
    pub window: Window,
    /// Column.
    pub sort: String,
    /// Least first.
    pub ascending: bool,
    /// Most rows.
    pub limit: u16,
    /// Which rows.
    pub filter: Filter,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What the exporter is asked to look at: parameters of the request.
    pub asked: Vec<(String, String)>,
    /// What the rows that it answers must mention, in lower case.
    pub contains: Vec<String>,
}

impl Filter {
    /// Reads words: `LABEL=VALUE` and addresses are asked for, anything else must be in a name.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut filter = Self::default();
        for word in words {
            if let Some((label, value)) = word.split_once('=') {
                filter.asked.push((label.to_owned(), value.to_owned()));
            } else if is_address(word) {
                filter.asked.push(("address".to_owned(), word.to_owned()));
            } else {
                filter.contains.push(word.to_lowercase());
            }
        }
        filter
    }
}

/// `192.0.2.7`, or a network such as `192.0.2.0/24`.
fn is_address(word: &str) -> bool {
    let (address, length) = word.split_once('/').unwrap_or((word, "0"));
    address.parse::<IpAddr>().is_ok() && length.parse::<u8>().is_ok()
}

impl Query {
    /// What the flags ask for.
    pub fn new(flags: &TopFlags) -> Self {
        let mut filter = Filter::parse(flags.filters.iter().map(String::as_str));
        filter.asked.splice(0..0, flags.url.filters.iter().cloned());
        Self {
            by: flags.by,
            window: flags.window,
            sort: flags.sort.clone(),
            ascending: flags.reverse,
            limit: flags.limit,
            filter,
        }
    }

    /// The query part of the request's address.
    pub fn encode(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let by = match self.by {
            RowsBy::Edge => "edge",
            RowsBy::Address => "address",
        };
        query.append_pair("format", "json").append_pair("by", by).append_pair("window", window(self.window));
        query
            .append_pair("sort", &self.sort)
            .append_pair("order", if self.ascending { "asc" } else { "desc" });
        query.append_pair("limit", &self.limit.to_string());
        for (name, value) in &self.filter.asked {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

/// A window's name.
pub const fn window(window: Window) -> &'static str {
    match window {
        Window::One => "1m",
        Window::Five => "5m",
        Window::Fifteen => "15m",
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn words_of_a_filter() {
        let filter = Filter::parse([
            "server_workload=a b&c",
            "192.0.2.7",
            "2001:db8::/32",
            "10.0.0",
            "Checkout",
            "pod=",
        ]);
        let asked: Vec<_> =
            filter.asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("server_workload", "a b&c"),
            ("address", "192.0.2.7"),
            ("address", "2001:db8::/32"),
            ("pod", ""),
        ];
        assert_eq!(asked, expected);
        assert_eq!(filter.contains, ["10.0.0", "checkout"]);
        assert_eq!(Filter::parse([]), Filter::default());
    }
}
