// SPDX-License-Identifier: Apache-2.0
//! A record of the ring (`struct fg_group` in `bpf/cgroups.bpf.c`), without the unused end of its path.

use std::borrow::Cow;

/// Bytes before the path.
const HEAD: usize = 16;

/// A control group that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup<'a> {
    /// Its id (`kernfs_node.id`), which is also its directory's inode.
    pub id: u64,
    /// The hierarchy it is in (`cgroup_root.hierarchy_id`, the first column of `/proc/<pid>/cgroup`); 0 is version 2.
    pub hierarchy: u32,
    /// Its path from the kernel's root of the hierarchy, whatever is mounted where; begins with `/`.
    pub path: Cow<'a, str>,
}

impl NewGroup<'_> {
    /// Whether the group is in the version 2 hierarchy.
    pub fn is_unified(&self) -> bool {
        self.hierarchy == 0
    }
}

/// None if the kernel wrote something else than a record.
pub(super) fn decode(record: &[u8]) -> Option<NewGroup<'_>> {
    let (id, rest) = record.split_first_chunk::<8>()?;
    let (hierarchy, rest) = rest.split_first_chunk::<4>()?;
    let (length, path) = rest.split_first_chunk::<4>()?;
    let path = path.get(..u32::from_ne_bytes(*length) as usize)?;
    (path.first() == Some(&b'/')).then(|| NewGroup {
        id: u64::from_ne_bytes(*id),
        hierarchy: u32::from_ne_bytes(*hierarchy),
        path: String::from_utf8_lossy(path),
    })
}

const _: () = {
    use crate::skeleton::cgroups::types::fg_group;
    assert!(std::mem::offset_of!(fg_group, id) == 0);
    assert!(std::mem::offset_of!(fg_group, hierarchy) == 8);
    assert!(std::mem::offset_of!(fg_group, path_bytes) == 12);
    assert!(std::mem::offset_of!(fg_group, path) == HEAD);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, hierarchy: u32, length: u32, path: &[u8]) -> Vec<u8> {
        [&id.to_ne_bytes()[..], &hierarchy.to_ne_bytes(), &length.to_ne_bytes(), path].concat()
    }

    #[test]
    fn records_of_both_versions() {
        let bytes = record(77, 0, 4, b"/a/b");
        let group = decode(&bytes).unwrap();
        assert_eq!((group.id, group.is_unified(), &*group.path), (77, true, "/a/b"));
        let bytes = record(u64::MAX, 9, 2, b"/\xff beyond the path");
        let group = decode(&bytes).unwrap();
        assert_eq!((group.id, group.hierarchy, &*group.path), (u64::MAX, 9, "/\u{fffd}"));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let whole = record(1, 0, 4, b"/a/b");
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), None, "{end} bytes");
        }
        assert_eq!(decode(&record(1, 0, 0, b"/a")), None, "an empty path");
        assert_eq!(decode(&record(1, 0, 2, b"aa")), None, "a relative path");
        assert_eq!(decode(&record(1, 0, u32::MAX, b"/a")), None, "a path beyond the record");
    }
}
