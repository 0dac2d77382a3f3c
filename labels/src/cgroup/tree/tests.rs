// SPDX-License-Identifier: Apache-2.0

use super::*;

fn id(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn tree(root: &Path) -> Tree<String> {
    Tree::new(root.to_owned(), Limits::default())
}

fn ask(tree: &Tree<String>, id: u64) -> Option<String> {
    tree.look_up(id, &str::to_owned).0.map(|value| value.as_str().to_owned())
}

#[test]
fn finds_groups_at_every_depth_and_remembers_the_departed() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    fs::write(dir.path().join("a/cgroup.procs"), "").unwrap();
    let tree = tree(dir.path());
    let (root, a, c) = (id(dir.path()), id(&dir.path().join("a")), id(&deep));
    assert_eq!(ask(&tree, root).as_deref(), Some("/"));
    assert_eq!(ask(&tree, a).as_deref(), Some("/a"));
    assert_eq!(ask(&tree, c).as_deref(), Some("/a/b/c"));
    fs::remove_dir(&deep).unwrap();
    tree.expire();
    tree.refresh(&str::to_owned);
    assert_eq!(ask(&tree, c).as_deref(), Some("/a/b/c"));
    let status = tree.status();
    assert_eq!((status.live, status.departed, status.walks, status.misses), (3, 1, 2, 0));
}

#[test]
fn an_unknown_id_is_looked_for_once_and_walks_are_rationed() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    for _ in 0..50 {
        assert_eq!(ask(&tree, u64::MAX), None);
    }
    for other in 0..50 {
        assert_eq!(ask(&tree, u64::MAX - 1 - other), None);
    }
    let status = tree.status();
    assert_eq!((status.walks, status.misses), (1, 100), "the second walk is not due yet");
}

#[test]
fn an_id_that_appears_after_it_was_asked_for_is_an_outdated_answer() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    assert_eq!(ask(&tree, u64::MAX), None);
    let new = dir.path().join("new");
    fs::create_dir(&new).unwrap();
    assert_eq!(ask(&tree, id(&new)), None, "no walk is due");
    assert!(!tree.refresh(&str::to_owned), "not due by the clock either");
    tree.expire();
    assert!(tree.refresh(&str::to_owned));
    assert_eq!(ask(&tree, id(&new)).as_deref(), Some("/new"));
    fs::rename(&new, dir.path().join("newer")).unwrap();
    tree.expire();
    assert!(tree.refresh(&str::to_owned));
    assert_eq!(ask(&tree, id(&dir.path().join("newer"))).as_deref(), Some("/newer"));
}

#[test]
fn what_is_remembered_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let two = NonZeroUsize::new(2).unwrap();
    let tree = Tree::new(dir.path().to_owned(), Limits { live: 4, departed: two, missing: two });
    let make = |number: u32| {
        let path = dir.path().join(number.to_string());
        fs::create_dir(&path).unwrap();
        id(&path)
    };
    let first = [make(0), make(1), make(2)];
    for id in first {
        assert!(ask(&tree, id).is_some());
    }
    for number in 0..3 {
        fs::remove_dir(dir.path().join(number.to_string())).unwrap();
    }
    tree.expire();
    tree.refresh(&str::to_owned);
    assert_eq!((tree.status().live, tree.status().departed), (1, 2));
    for number in 10..20 {
        make(number);
    }
    tree.expire();
    tree.refresh(&str::to_owned);
    assert_eq!((tree.status().live, tree.status().truncated), (4, true));
}

#[test]
fn a_hierarchy_that_cannot_be_read_says_so_and_keeps_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cgroup");
    fs::create_dir_all(root.join("x")).unwrap();
    let x = id(&root.join("x"));
    let tree = tree(&root);
    assert!(ask(&tree, x).is_some());
    fs::rename(&root, dir.path().join("away")).unwrap();
    tree.expire();
    tree.refresh(&str::to_owned);
    assert!(ask(&tree, x).is_some());
    let status = tree.status();
    assert_eq!(status.failed, 1);
    assert!(status.error.unwrap().contains("cgroup: No such file"));
    fs::rename(dir.path().join("away"), &root).unwrap();
    tree.expire();
    tree.refresh(&str::to_owned);
    assert!(tree.status().error.is_none());
}

#[test]
fn an_id_that_a_walk_did_not_find_causes_no_other_walk() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    assert_eq!(ask(&tree, u64::MAX), None);
    tree.expire();
    assert_eq!((ask(&tree, u64::MAX), tree.status().walks), (None, 1));
    assert_eq!((ask(&tree, u64::MAX - 1), tree.status().walks), (None, 2), "a new one does");
}

#[test]
fn a_hierarchy_that_is_too_large_does_not_grow_without_bound_as_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let four = NonZeroUsize::new(4).unwrap();
    let tree = Tree::new(dir.path().to_owned(), Limits { live: 4, departed: four, missing: four });
    for round in 0..10 {
        let paths: Vec<_> = (0..8).map(|number| dir.path().join(format!("{round}-{number}"))).collect();
        paths.iter().for_each(|path| fs::create_dir(path).unwrap());
        tree.expire();
        tree.refresh(&str::to_owned);
        let status = tree.status();
        assert!(status.truncated && status.live <= 8, "{} in round {round}", status.live);
        paths.iter().for_each(|path| fs::remove_dir(path).unwrap());
    }
}

#[test]
fn a_group_that_no_walk_saw_is_known_from_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    assert_eq!(ask(&tree, 7), None);
    assert!(tree.learn(7, "/short", &str::to_owned), "it was asked for before");
    assert!(!tree.learn(8, "/other", &str::to_owned));
    assert_eq!((ask(&tree, 7).as_deref(), ask(&tree, 8).as_deref()), (Some("/short"), Some("/other")));
    assert_eq!(tree.status().walks, 1, "none for what the kernel told");
    tree.expire();
    assert!(!tree.refresh(&str::to_owned));
    assert_eq!((tree.status().live, tree.status().departed), (1, 2), "the walk found them gone");
    assert_eq!(ask(&tree, 7).as_deref(), Some("/short"));
    assert!(!tree.learn(7, "/late", &str::to_owned));
    assert_eq!(ask(&tree, 7).as_deref(), Some("/short"), "what is known counts more");
}

#[test]
fn a_walk_corrects_what_the_kernel_told_before_a_rename() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("now")).unwrap();
    let now = id(&dir.path().join("now"));
    let tree = tree(dir.path());
    tree.learn(now, "/once", &str::to_owned);
    assert!(tree.refresh(&str::to_owned), "the first walk is due");
    assert_eq!(ask(&tree, now).as_deref(), Some("/now"));
    tree.learn(now, "/once", &str::to_owned);
    assert_eq!(ask(&tree, now).as_deref(), Some("/now"));
}

#[test]
fn what_is_learned_is_bounded_and_hurry_respects_the_cost() {
    let dir = tempfile::tempdir().unwrap();
    let four = NonZeroUsize::new(4).unwrap();
    let tree = Tree::new(dir.path().to_owned(), Limits { live: 4, departed: four, missing: four });
    tree.refresh(&str::to_owned);
    for id in 1_000_000..1_000_100 {
        tree.learn(id, "/x", &str::to_owned);
        assert!(ask(&tree, id).is_some());
    }
    assert_eq!((tree.status().live, tree.status().departed), (4, 4));
    let walks = tree.status().walks;
    tree.refresh(&str::to_owned);
    assert_eq!(tree.status().walks, walks, "not due by the clock");
    tree.inner.lock().next_asked = Instant::now();
    tree.hurry();
    tree.refresh(&str::to_owned);
    assert_eq!(tree.status().walks, walks + 1);
    tree.inner.lock().next_asked = Instant::now() + PERIOD;
    tree.hurry();
    tree.refresh(&str::to_owned);
    assert_eq!(tree.status().walks, walks + 1, "a long walk is not repeated at once");
}
