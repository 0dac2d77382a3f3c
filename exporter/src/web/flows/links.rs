// SPDX-License-Identifier: Apache-2.0
//! Links to the same question with something changed.

use form_urlencoded::Serializer;

use crate::flows::{By, Column, DEFAULT_LIMIT, EdgeLabels, Order, Query, Window};

/// A question as a link to `/flows`. What is the default is left out.
#[derive(Debug, Clone)]
pub struct Link<'a> {
    labels: &'a [&'static str],
    query: Query,
}

impl<'a> Link<'a> {
    /// To this question, where edges have these labels.
    pub fn to(query: &Query, labels: &'a [&'static str]) -> Self {
        Self { labels, query: query.clone() }
    }

    /// Over another window.
    pub fn window(mut self, window: Window) -> Self {
        self.query.window = window;
        self
    }

    /// With other rows. By edge, there is no address to sort by.
    pub fn by(mut self, by: By) -> Self {
        self.query.by = by;
        let gone = match by {
            By::Edge => "address",
            By::Address => "addresses",
        };
        if self.query.sort.name(self.labels) == gone {
            self.query.sort = Column::default();
        }
        self
    }

    /// Sorted by a column.
    pub fn sort(mut self, sort: &str, order: Order) -> Self {
        if let Some(column) = Column::named(sort, self.labels) {
            self.query.sort = column;
            self.query.order = order;
        }
        self
    }

    /// With another limit.
    pub fn limit(mut self, limit: usize) -> Self {
        self.query.limit = limit;
        self
    }

    /// Without the condition of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.query.filters.retain(|filter| filter.name != name);
        if name == "address" {
            self.query.network = None;
        }
        self
    }

    /// To all addresses of one edge.
    pub fn edge(self, edge: &EdgeLabels) -> String {
        let mut link = self.by(By::Address);
        link.query.filters.clear();
        link.query.network = None;
        let mut text = link.text();
        let mut rest = Serializer::new(String::new());
        edge.iter().for_each(|(name, value)| {
            rest.append_pair(name, value);
        });
        text.push(if text.contains('?') { '&' } else { '?' });
        text + &rest.finish()
    }

    /// To one address, whatever the edge.
    pub fn address(mut self, address: std::net::IpAddr) -> String {
        self.query.filters.clear();
        self.query.network = Some(address.into());
        self.text()
    }

    /// The pairs of the query.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self { labels, query } = self;
        let default = Query::default();
        let mut pairs = Vec::new();
        let mut push = |differs: bool, name: &'static str, value: &str| {
            if differs {
                pairs.push((name, value.to_owned()));
            }
        };
        push(query.window != default.window, "window", query.window.as_str());
        push(query.by != default.by, "by", query.by.as_str());
        push(query.sort != default.sort, "sort", query.sort.name(labels));
        push(query.order != default.order, "order", query.order.as_str());
        push(query.limit != DEFAULT_LIMIT, "limit", &query.limit.to_string());
        if let Some(network) = query.network {
            let single = network.prefix_len() == network.max_prefix_len();
            let text = if single { network.addr().to_string() } else { network.to_string() };
            push(true, "address", &text);
        }
        for filter in &query.filters {
            filter.values.iter().for_each(|value| push(true, filter.name, value));
        }
        pairs
    }

    /// The link.
    pub fn text(&self) -> String {
        let pairs = self.pairs();
        if pairs.is_empty() {
            return "/flows".to_owned();
        }
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs);
        format!("/flows?{}", query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameters::read;
    use super::*;
    use crate::flags::DEFAULT_LABELS;

    #[test]
    fn a_link_leads_to_its_question() {
        for query in [
            "",
            "window=1m&by=edge&sort=rtt_max&order=asc&limit=7",
            "address=192.0.2.0/24&server_zone=&server_workload=a%26b%3D%22&server_workload=%E2%9C%93&workload=x",
            "address=2001:db8::1",
        ] {
            let query = read(query, DEFAULT_LABELS).unwrap().query;
            let link = Link::to(&query, DEFAULT_LABELS).text();
            let rest = link.strip_prefix("/flows").unwrap().trim_start_matches('?');
            assert_eq!(read(rest, DEFAULT_LABELS).unwrap().query, query, "{link}");
        }
        assert_eq!(Link::to(&Query::default(), DEFAULT_LABELS).text(), "/flows");
    }

    #[test]
    fn what_is_gone_is_not_sorted_by() {
        let query = read("sort=address", DEFAULT_LABELS).unwrap().query;
        assert_eq!(Link::to(&query, DEFAULT_LABELS).by(By::Edge).text(), "/flows?by=edge");
    }
}
