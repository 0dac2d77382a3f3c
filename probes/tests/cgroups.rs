// SPDX-License-Identifier: Apache-2.0
//! The control groups probe on the running kernel, against groups made here. Needs root.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowgauge_probes::cgroups::{Cgroups, Storage};
use flowgauge_probes::tcp::ProcessHierarchy;

/// Each test sees every group that is made: one at a time keeps the storm out of the others' way.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A directory in a mounted hierarchy for one test; whatever is in it goes with it.
struct Playground(PathBuf);

impl Playground {
    fn new(mount: &Path, test: &str) -> Self {
        let path = mount.join(format!("fg-{test}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn name(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_string_lossy())
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        fn remove(dir: &Path) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            fs::remove_dir(dir).unwrap();
        }
        remove(&self.0);
    }
}

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a hierarchy is mounted: version 2, or the version 1 one with a controller.
fn mount(controller: Option<&str>) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find_map(|fields| {
        let wanted = match controller {
            None => fields[2] == "cgroup2",
            Some(name) => fields[2] == "cgroup" && fields[3].split(',').any(|option| option == name),
        };
        wanted.then(|| PathBuf::from(fields[1]))
    })
}

fn unified() -> PathBuf {
    mount(None).expect("no cgroup v2 hierarchy is mounted")
}

/// Makes a group, and removes it at once. Its inode.
fn make_and_remove(path: &Path) -> u64 {
    fs::create_dir(path).unwrap();
    let id = fs::metadata(path).unwrap().ino();
    fs::remove_dir(path).unwrap();
    id
}

/// Everything that is told of now: path and hierarchy by id.
fn drain(probe: &mut Cgroups<'_>) -> (HashMap<u64, (String, u32)>, bool) {
    let mut seen = HashMap::new();
    let missing = probe
        .drain(|group| {
            seen.insert(group.id, (group.path.into_owned(), group.hierarchy));
        })
        .unwrap();
    (seen, missing)
}

#[test]
fn groups_that_are_gone_again_are_told_with_path_and_id() {
    let _alone = alone();
    let playground = Playground::new(&unified(), "gone");
    let mut storage = Storage::default();
    let mut probe = Cgroups::load(&mut storage, ProcessHierarchy::Unified).unwrap();
    let short = make_and_remove(&playground.0.join("short"));
    let odd = make_and_remove(&playground.0.join("with blank\u{e4}"));
    let (seen, _) = drain(&mut probe);
    assert_eq!(seen[&short], (format!("{}/short", playground.name()), 0));
    assert_eq!(seen[&odd], (format!("{}/with blank\u{e4}", playground.name()), 0));
    assert!(!drain(&mut probe).0.contains_key(&short), "told once");
    let health = probe.health();
    assert!(health.made >= 2 && health.program.runs >= 2 && health.program.run_ns > 0, "{health:?}");
    assert_eq!(health.undecodable, 0);
}

#[test]
fn of_version_1_only_the_hierarchy_of_processes_is_told() {
    let _alone = alone();
    // Where version 2 is alone there is nothing to tell apart.
    let Some((memory, pids)) = mount(Some("memory")).zip(mount(Some("pids"))) else {
        assert!(unified().join("cgroup.controllers").exists());
        return;
    };
    assert_ne!(memory, pids, "the two controllers are in one hierarchy here");
    let wanted = Playground::new(&memory, "v1");
    let other = Playground::new(&pids, "v1");
    let both = Playground::new(&unified(), "v1");
    for (hierarchy, is_memory) in [(ProcessHierarchy::V1Memory, true), (ProcessHierarchy::V1Pids, false)] {
        let mut storage = Storage::default();
        let mut probe = Cgroups::load(&mut storage, hierarchy).unwrap();
        make_and_remove(&wanted.0.join("of-memory"));
        make_and_remove(&other.0.join("of-pids"));
        make_and_remove(&both.0.join("of-both"));
        let (seen, _) = drain(&mut probe);
        let hierarchy_of =
            |path: String| seen.values().find(|(seen, _)| *seen == path).map(|(_, hierarchy)| *hierarchy);
        let of_memory = hierarchy_of(format!("{}/of-memory", wanted.name()));
        let of_pids = hierarchy_of(format!("{}/of-pids", other.name()));
        assert_eq!((of_memory.is_some(), of_pids.is_some()), (is_memory, !is_memory), "{seen:?}");
        assert_ne!(of_memory.or(of_pids), Some(0));
        assert_eq!(hierarchy_of(format!("{}/of-both", both.name())), Some(0));
    }
}

#[test]
fn a_path_longer_than_a_record_is_counted_and_not_told_in_part() {
    let _alone = alone();
    let playground = Playground::new(&unified(), "long");
    let mut storage = Storage::default();
    let mut probe = Cgroups::load(&mut storage, ProcessHierarchy::Unified).unwrap();
    // Relative steps, as the whole path grows beyond what one name may have.
    let mut dir = playground.0.clone();
    let mut told = Vec::new();
    for _ in 0..6 {
        dir = dir.join("x".repeat(200));
        fs::create_dir(&dir).unwrap();
        told.push((fs::metadata(&dir).unwrap().ino(), dir.strip_prefix(unified()).unwrap().to_owned()));
    }
    let (seen, missing) = drain(&mut probe);
    for (id, path) in &told {
        let path = format!("/{}", path.display());
        let expected = (path.len() < 1023).then_some((path, 0));
        assert_eq!(seen.get(id), expected.as_ref());
    }
    let too_long = told.iter().filter(|(_, path)| path.as_os_str().len() + 1 >= 1023).count() as u64;
    assert!(too_long > 0 && missing, "{too_long} too long, missing: {missing}");
    assert!(probe.health().lost[1] >= too_long, "{:?}", probe.health());
    assert!(!drain(&mut probe).1, "nothing is missing since then");
}

#[test]
fn a_storm_is_told_or_counted_as_lost() {
    let _alone = alone();
    const STORM: usize = 20_000;
    let playground = Playground::new(&unified(), "storm");
    let dirs: Vec<PathBuf> = (0..STORM).map(|number| playground.0.join(format!("{:0100}", number))).collect();
    let (quiet, _) = rounds(&dirs);
    let mut storage = Storage::default();
    let mut probe = Cgroups::load(&mut storage, ProcessHierarchy::Unified).unwrap();
    let (watched, ids) = rounds(&dirs);
    let health = probe.health();
    let start = Instant::now();
    let (seen, missing) = drain(&mut probe);
    let took = start.elapsed();
    let told = ids.iter().filter(|id| seen.contains_key(id)).count();
    eprintln!(
        "{STORM} groups made and removed: {} ns each without, {} ns with the probe, {} ns by its own count; \
         {told} told, {} lost; drained in {took:?}",
        quiet.as_nanos() / STORM as u128,
        watched.as_nanos() / STORM as u128,
        health.program.run_ns / health.program.runs,
        health.lost[0],
    );
    assert!(told > 1000 && told < STORM, "{told} told");
    assert!(missing && health.lost[0] >= (STORM - told) as u64, "{told} told, {health:?}");
    assert!(health.made + health.lost[0] >= STORM as u64 && health.made >= told as u64, "{health:?}");
    let after = make_and_remove(&playground.0.join("after"));
    let (seen, missing) = drain(&mut probe);
    assert!(seen.contains_key(&after) && !missing, "the ring has room again");
}

/// How long it takes to make and remove them all, and their ids.
fn rounds(dirs: &[PathBuf]) -> (Duration, Vec<u64>) {
    let start = Instant::now();
    let ids = dirs.iter().map(|dir| make_and_remove(dir)).collect();
    (start.elapsed(), ids)
}
