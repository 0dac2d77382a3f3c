// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;

fn one(workload: &str) -> String {
    format!("names:\n  - cidrs: [10.0.0.0/8]\n    workload: {workload}\n")
}

fn named(file: &NamesFile) -> String {
    file.look_up("10.0.0.1".parse().unwrap(), None)
        .map_or_else(String::new, |identity| identity.workload.to_string())
}

fn opened(dir: &Path) -> (PathBuf, NamesFile) {
    let path = dir.join("names.yml");
    fs::write(&path, one("first")).unwrap();
    let file = NamesFile::open(path.clone()).unwrap();
    (path, file)
}

#[test]
fn a_wrong_file_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.yml");
    let error = NamesFile::open(path.clone()).unwrap_err().to_string();
    assert_eq!(error, format!("names file {}: No such file or directory (os error 2)", path.display()));
    assert_eq!(check_names_file(&path).unwrap_err().to_string(), error);
    fs::write(&path, one("x")).unwrap();
    assert_eq!(check_names_file(&path).unwrap(), 1);
    fs::write(&path, "names:\n  - {}\n").unwrap();
    let error = NamesFile::open(path.clone()).unwrap_err().to_string();
    assert_eq!(error, format!("names file {}:2:5: missing field `cidrs`", path.display()));
    let error = NamesFile::open(dir.path().to_owned()).unwrap_err().to_string();
    assert!(error.ends_with(": not a regular file"), "{error}");
}

#[test]
fn a_file_renamed_into_place_is_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = opened(dir.path());
    assert!(!file.refresh());
    fs::write(dir.path().join("new"), one("second")).unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert!(file.refresh());
    assert_eq!(named(&file), "second");
    assert!(!file.refresh());
    assert_eq!(file.status().reloads, 1);
}

#[test]
fn a_configmap_swap_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    for version in ["one", "two"] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("names.yml"), one(version)).unwrap();
    }
    symlink("one", dir.path().join("..data")).unwrap();
    symlink("..data/names.yml", dir.path().join("names.yml")).unwrap();
    let file = NamesFile::open(dir.path().join("names.yml")).unwrap();
    assert_eq!(named(&file), "one");
    symlink("two", dir.path().join("..tmp")).unwrap();
    fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
    assert!(file.refresh());
    assert_eq!(named(&file), "two");
}

#[test]
fn a_file_written_in_place_is_read_when_it_holds_still() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = opened(dir.path());
    fs::write(&path, "names: []\n").unwrap(); // the first half of a slow write
    assert!(!file.refresh());
    assert_eq!(named(&file), "first");
    fs::write(&path, one("complete")).unwrap();
    assert!(!file.refresh());
    assert!(file.refresh());
    assert_eq!((named(&file).as_str(), file.status().reloads), ("complete", 1));
}

#[test]
fn a_bad_or_vanished_file_keeps_the_old_names_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = opened(dir.path());
    let replace = |text: &str| {
        fs::write(dir.path().join("new"), text).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
    };
    replace("names:\n  - cidrs: [10.0.0.0/8]\n");
    for _ in 0..3 {
        assert!(!file.refresh());
    }
    let status = file.status();
    assert_eq!((status.up, status.reloads_failed), (false, 1), "one attempt for one bad file");
    let expected = format!(
        "names file {}:2:5: missing field `workload`; keeping the 1 entries read before",
        path.display()
    );
    assert_eq!(status.detail, expected);
    assert!(!file.reload());
    assert_eq!(file.status().reloads_failed, 2);

    fs::remove_file(&path).unwrap();
    for _ in 0..3 {
        assert!(!file.refresh());
    }
    assert_eq!(file.status().reloads_failed, 3);
    assert!(file.status().detail.contains("No such file"));
    assert_eq!(named(&file), "first");

    replace(&one("first"));
    assert!(!file.refresh(), "the same names as before");
    assert_eq!((file.status().up, file.status().reloads), (true, 0));
    fs::write(&path, one("third")).unwrap();
    assert!(file.reload(), "at once when asked to");
    assert_eq!(named(&file), "third");
}
