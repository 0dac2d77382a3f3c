// SPDX-License-Identifier: Apache-2.0
//! The query of a request: what is asked for, or what is wrong with it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::flows::{By, Column, Filter, MOST_ROWS, Order, Query, Window};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Html,
    /// For programs.
    Json,
}

impl Format {
    /// A page for whoever names HTML, as browsers do; JSON for all others.
    pub fn negotiate(accept: Option<String>) -> Self {
        let accept = accept.unwrap_or_default();
        let mut media = accept.split(',').filter_map(|range| range.split(';').next());
        let html = media.any(|media| media.trim().eq_ignore_ascii_case("text/html"));
        if html { Format::Html } else { Format::Json }
    }
}

/// A question, and how it is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub query: Query,
    /// How, if that is asked for.
    pub format: Option<Format>,
}

/// Labels of either end, by what they are asked for.
pub const OF_EITHER: [(&str, [&str; 2]); 3] = [
    ("workload", ["client_workload", "server_workload"]),
    ("namespace", ["client_namespace", "server_namespace"]),
    ("zone", ["client_zone", "server_zone"]),
];

/// Longest value that is repeated in a complaint.
const SHOWN: usize = 80;

/// Reads a query, where edges have these labels.
///
/// # Errors
/// One line that names the parameter.
pub fn read(query: &str, labels: &[&'static str]) -> Result<Asked, String> {
    let mut asked = Asked { query: Query::default(), format: None };
    let mut given = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if once(&name) {
            if given.contains(&name) {
                return Err(format!("{name}: given more than once"));
            }
            given.push(name.clone());
        }
        take(&mut asked, &name, &value, labels)
            .map_err(|reason| format!("{}: {:?}: {reason}", shown(&name), shown(&value)))?;
    }
    Ok(asked)
}

fn once(name: &str) -> bool {
    matches!(name, "window" | "by" | "sort" | "order" | "limit" | "format" | "address")
}

fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

fn take(asked: &mut Asked, name: &str, value: &str, labels: &[&'static str]) -> Result<(), String> {
    let query = &mut asked.query;
    match name {
        "window" => {
            let window = Window::ALL.into_iter().find(|window| window.as_str() == value);
            query.window = window.ok_or("must be 1m, 5m or 15m")?;
        }
        "by" => {
            let by = [By::Address, By::Edge].into_iter().find(|by| by.as_str() == value);
            query.by = by.ok_or("must be address or edge")?;
        }
        "order" => {
            let order =
                [Order::Descending, Order::Ascending].into_iter().find(|order| order.as_str() == value);
            query.order = order.ok_or("must be desc or asc")?;
        }
        "sort" => {
            query.sort = Column::named(value, labels).ok_or_else(|| {
                format!("no such column; there are {}", Column::names(labels).collect::<Vec<_>>().join(", "))
            })?;
        }
        "limit" => {
            let limit = value.parse().ok().filter(|limit| (1..=MOST_ROWS).contains(limit));
            query.limit = limit.ok_or_else(|| format!("must be a whole number from 1 to {MOST_ROWS}"))?;
        }
        "format" => {
            asked.format = Some(match value {
                "html" => Format::Html,
                "json" => Format::Json,
                _ => return Err("must be html or json".to_owned()),
            });
        }
        // As in a form that was left empty.
        "address" if value.is_empty() => {}
        "address" => {
            let network = value.parse::<IpNet>().ok().map(|network| network.trunc());
            let network =
                network.or_else(|| value.parse::<IpAddr>().ok().map(|one| one.to_canonical().into()));
            query.network = Some(network.ok_or("must be an IP address or a CIDR")?);
        }
        _ => filter(query, name, value, labels)?,
    }
    Ok(())
}

fn filter(query: &mut Query, name: &str, value: &str, labels: &[&'static str]) -> Result<(), String> {
    let place = |name: &str| labels.iter().position(|label| *label == name);
    let (name, places) = if let Some(place) = place(name) {
        (labels[place], vec![place])
    } else if let Some((name, ends)) = OF_EITHER.iter().find(|(of_either, _)| *of_either == name) {
        // As in a form that was left empty.
        if value.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = ends.iter().filter_map(|label| place(label)).collect();
        if places.is_empty() {
            return Err("edges have no such label here".to_owned());
        }
        (*name, places)
    } else {
        let own = "window, by, sort, order, limit, format, address, workload, namespace, zone";
        return Err(format!("no such parameter; there are {own}, {}", labels.join(", ")));
    };
    match query.filters.iter_mut().find(|filter| filter.name == name) {
        Some(filter) => filter.values.push(value.to_owned()),
        None => query.filters.push(Filter { name, labels: places, values: vec![value.to_owned()] }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::DEFAULT_LABELS;

    fn of(query: &str) -> Query {
        read(query, DEFAULT_LABELS).unwrap().query
    }

    fn mistake(query: &str) -> String {
        read(query, DEFAULT_LABELS).unwrap_err()
    }

    #[test]
    fn nothing_asked_for_is_the_default() {
        assert_eq!(of(""), Query::default());
        assert_eq!(of("workload=&namespace=&zone=&address="), Query::default(), "an empty form");
        assert_eq!(read("", DEFAULT_LABELS).unwrap().format, None);
    }

    #[test]
    fn everything_can_be_asked_for() {
        let query = of("window=15m&by=edge&sort=retransmit_ratio&order=asc&limit=1000&address=192.0.2.77/24");
        assert_eq!((query.window, query.by, query.order), (Window::Fifteen, By::Edge, Order::Ascending));
        assert_eq!((query.limit, query.sort.name(DEFAULT_LABELS)), (1000, "retransmit_ratio"));
        assert_eq!(query.network, Some("192.0.2.0/24".parse().unwrap()));
        assert_eq!(of("address=2001:db8::1").network, Some("2001:db8::1/128".parse().unwrap()));
        assert_eq!(of("address=::ffff:192.0.2.1").network, Some("192.0.2.1/32".parse().unwrap()));
        let filters = of("server_workload=a%26b&server_workload=c+d&server_zone=&workload=%3Cx%3E").filters;
        assert_eq!(filters.len(), 3);
        assert_eq!(
            (filters[0].name, &filters[0].values[..]),
            ("server_workload", &["a&b".into(), "c d".into()][..])
        );
        assert_eq!((filters[1].name, &filters[1].values[..]), ("server_zone", &[String::new()][..]));
        assert_eq!((filters[2].labels.len(), filters[2].values[0].as_str()), (2, "<x>"));
        for column in Column::names(DEFAULT_LABELS) {
            assert_eq!(of(&format!("sort={column}")).sort.name(DEFAULT_LABELS), column);
        }
    }

    #[test]
    fn mistakes_name_the_parameter_in_one_line() {
        for (query, begin) in [
            ("window=2m", "window: \"2m\": must be 1m, 5m or 15m"),
            ("by=pod", "by: \"pod\": must be address or edge"),
            ("order=up", "order: \"up\": must be"),
            ("sort=size", "sort: \"size\": no such column; there are bytes, "),
            ("limit=0", "limit: \"0\": must be a whole number from 1 to 1000"),
            ("limit=1001", "limit: \"1001\""),
            ("limit=-1", "limit: \"-1\""),
            ("limit=99999999999999999999", "limit: \"99999999999999999999\""),
            ("format=xml", "format: \"xml\": must be html or json"),
            ("address=here", "address: \"here\": must be an IP address or a CIDR"),
            ("address=10.0.0.0/33", "address: \"10.0.0.0/33\""),
            ("client_pod=x", "client_pod: \"x\": no such parameter; there are window, "),
            ("%0a%00=x", "\u{fffd}\u{fffd}: \"x\": no such parameter"),
            ("window=5m&window=5m", "window: given more than once"),
            ("x", "x: \"\": no such parameter"),
            ("window=%ff", "window: \"\u{fffd}\": must be"),
        ] {
            let line = mistake(query);
            assert!(line.starts_with(begin), "{query}: {line}");
            assert!(!line.contains('\n'), "{query}: {line}");
        }
        assert!(mistake(&format!("window={}", "x".repeat(10_000))).len() < 200);
    }

    #[test]
    fn labels_that_were_dropped_cannot_be_asked_for() {
        let labels = &["observer", "client_workload"];
        assert_eq!(read("workload=a", labels).unwrap().query.filters[0].labels, [1]);
        assert_eq!(read("zone=a", labels).unwrap_err(), "zone: \"a\": edges have no such label here");
        assert!(
            read("server_workload=a", labels).unwrap_err().starts_with("server_workload: \"a\": no such")
        );
    }

    #[test]
    fn browsers_get_a_page() {
        let of = |accept: &str| Format::negotiate(Some(accept.to_owned()));
        assert_eq!(of("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), Format::Html);
        assert_eq!(of("application/json, Text/HTML;q=0.1"), Format::Html);
        assert_eq!(of("*/*"), Format::Json);
        assert_eq!(of("text/plain"), Format::Json);
        assert_eq!(Format::negotiate(None), Format::Json);
    }
}
