//! The bits of W1 … W8, at each kind of processor: a change that is not meant to change numbers, does not.
//!
//! A hash is of all results of a workload, in `f64`, on the arrays of `tests/golden`. It may only be replaced by another one
//! for a reason that the commit names: the run prints what it found. W4 and W5 have products by a library that chooses its
//! instructions by itself, so they are only compared on processors like that of their hashes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use ad::Level;
use study::workloads::{Error, Folder, Recorder, WORKLOADS};

const BY_A_LIBRARY: [&str; 2] = ["W4", "W5"];

/// FNV-1a of all results.
fn hash(workload: &str) -> u64 {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let inputs = Folder::open(&data, workload, "in").expect("inputs");
    let (_, parts) = WORKLOADS.iter().find(|(name, _)| *name == workload).expect("a workload");
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in *parts {
        let tasks = match part(&Recorder::new(&inputs)) {
            Err(Error::Absent(_)) => continue,
            tasks => tasks.expect("inputs that belong together"),
        };
        let results = tasks.iter().flat_map(|task| task.run().expect("valid inputs"));
        for byte in results.flatten().flat_map(f64::to_le_bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[test]
fn results_are_the_same_bits_as_ever() {
    let stored: BTreeMap<(&str, &str), &str> = include_str!("golden/bits.txt")
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(((words.next()?, words.next()?), words.next()?))
        })
        .collect();
    let (mut found, mut compared, mut differ) = (String::new(), 0, Vec::new());
    for &level in Level::available() {
        level.use_level();
        for (workload, _) in WORKLOADS {
            let (level, hash) = (format!("{level:?}"), format!("{:016x}", hash(workload)));
            let _ = writeln!(found, "{level} {workload} {hash}");
            let is_alike = Level::available().last() == Some(&Level::Avx512);
            if is_alike || !BY_A_LIBRARY.contains(&workload) {
                compared += 1;
                if stored.get(&(level.as_str(), workload)) != Some(&hash.as_str()) {
                    differ.push(format!("{level} {workload}"));
                }
            }
        }
    }
    assert!(compared >= 6);
    assert!(differ.is_empty(), "other bits: {}; found were\n{found}", differ.join(", "));
}
