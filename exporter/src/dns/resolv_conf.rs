// SPDX-License-Identifier: Apache-2.0
//! The host's own search list.

use std::path::Path;

use super::name::Name;

/// Most suffixes taken; resolvers take six, or as many as fit into 256 characters, or (glibc 2.26 and newer) all.
const MOST: usize = 32;

/// Suffixes that the host's resolver appends to names, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchList(Vec<Name>);

impl SearchList {
    /// Of the host whose root directory this is; empty where it has none, or it cannot be read: it is a hint only.
    pub fn of_host(rootfs: &Path) -> Self {
        let text = std::fs::read_to_string(rootfs.join("etc/resolv.conf"));
        text.as_deref().map(Self::parse).unwrap_or_default()
    }

    /// From the text of resolv.conf(5): the last `search` or `domain` counts.
    pub fn parse(text: &str) -> Self {
        let mut list = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let Some("search" | "domain") = words.next() {
                list = words.filter_map(Name::from_text).take(MOST).collect();
            }
        }
        Self(list)
    }

    /// The length of the name that both came from, if `later` is the next or a later try after `earlier`.
    pub fn expanded(&self, earlier: &[u8], later: &[u8]) -> Option<usize> {
        let place = |suffix: &[u8]| self.0.iter().position(|known| known.wire() == suffix);
        self.0.iter().enumerate().find_map(|(at, suffix)| {
            let (bare, _) = later.split_at_checked(later.len().checked_sub(suffix.wire().len())?)?;
            let of_later = !bare.is_empty() && later[bare.len()..] == *suffix.wire();
            (of_later && place(earlier.strip_prefix(bare)?)? < at).then_some(bare.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_list_counts() {
        let name = |text| Name::from_text(text).unwrap();
        let text = "# search no.example\nnameserver 10.0.0.10\nsearch a.example\n\tsearch  B.example. c..d e.example\noptions ndots:5";
        assert_eq!(SearchList::parse(text).0, [name("b.example"), name("e.example")]);
        assert_eq!(SearchList::parse("domain a.example").0, [name("a.example")]);
        assert_eq!(SearchList::parse("search\n"), SearchList::default());
    }

    #[test]
    fn a_host_has_a_list_or_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(SearchList::of_host(root.path()), SearchList::default());
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/resolv.conf"), "search corp.example\n").unwrap();
        assert_eq!(SearchList::of_host(root.path()).0, [Name::from_text("corp.example").unwrap()]);
    }

    #[test]
    fn tries_follow_each_other_in_its_order() {
        let list = SearchList::parse("search corp.example lab.test");
        let expanded = |earlier, later| {
            let (earlier, later) = (Name::from_text(earlier).unwrap(), Name::from_text(later).unwrap());
            list.expanded(earlier.wire(), later.wire())
        };
        assert_eq!(expanded("db.corp.example", "db.lab.test"), Some(3));
        assert_eq!(expanded("db.lab.test", "db.corp.example"), None);
        assert_eq!(expanded("db.corp.example", "web.lab.test"), None);
        assert_eq!(expanded("corp.example", "lab.test"), None);
    }
}
