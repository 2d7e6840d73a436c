//! Who imports whom is what ARCHITECTURE.md says: a list of rooms in which each imports what it names, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The list below the heading of a crate.
fn listed(name: &str) -> Imports {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, list) = text.split_once(&format!("```text\nrooms of `{name}`")).expect("a list of rooms");
    let (list, _) = list.split_once("```").expect("its end");
    let lines = list.lines().skip(1).filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.filter(|word| word != "–").collect())
        })
        .collect()
}

/// What the files of each room of a crate import of the others.
fn found(name: &str) -> Imports {
    let src = root().join("crates").join(name).join("src");
    let mut imports = Imports::new();
    let mut files = vec![src.clone()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let inside: PathBuf = path.strip_prefix(&src).unwrap().into();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "lib" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // What only tests need does not count.
        let text = text.split("#[cfg(test)]").next().unwrap();
        assert!(!text.contains("crate::{"), "{}: write one `use` for each room", path.display());
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = code.flat_map(|line| line.split("crate::").skip(1).map(room_of));
        let others = named.filter(|other| *other != room && other.starts_with(|c: char| c.is_ascii_lowercase()));
        imports.entry(room.clone()).or_default().extend(others.collect::<Vec<_>>());
    }
    imports
}

fn room_of(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn check(name: &str) -> Imports {
    let (listed, found) = (listed(name), found(name));
    let line = |(room, imports): (&String, &BTreeSet<String>)| {
        format!("{room} {}\n", imports.iter().cloned().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(listed, found, "found are\n{}", found.iter().map(line).collect::<String>());
    found
}

/// Whether one can come from a room to itself.
fn is_in_a_circle(room: &str, imports: &Imports) -> bool {
    let (mut seen, mut stack) = (BTreeSet::new(), vec![room]);
    while let Some(next) = stack.pop() {
        for other in imports.get(next).into_iter().flatten() {
            if other == room {
                return true;
            }
            if seen.insert(other.as_str()) {
                stack.push(other);
            }
        }
    }
    false
}

#[test]
fn rooms_of_ad_import_what_the_architecture_lists_and_only_op_and_tape_are_a_circle() {
    let imports = check("ad");
    let circle: Vec<&str> = imports.keys().map(String::as_str).filter(|room| is_in_a_circle(room, &imports)).collect();
    assert_eq!(circle, ["op", "tape"]);
    // What numbers are and how they are computed knows nothing of operations.
    for ground in ["dtype", "tensor", "real", "error", "equal", "kernel", "machine"] {
        for above in ["op", "tape", "diff", "program", "check", "trial"] {
            assert!(!imports[ground].contains(above), "{ground} imports {above}");
        }
    }
}

#[test]
fn rooms_of_rl_import_what_the_architecture_lists_and_only_rooms_above_themselves() {
    let imports = check("rl");
    let circle: Vec<&String> = imports.keys().filter(|room| is_in_a_circle(room, &imports)).collect();
    assert!(circle.is_empty(), "{circle:?}");
}

#[test]
fn rooms_of_sim_import_what_the_architecture_lists() {
    check("sim");
}

#[test]
fn rooms_of_study_import_what_the_architecture_lists() {
    check("study");
}

#[test]
fn rooms_of_train_import_what_the_architecture_lists_and_only_rooms_above_themselves() {
    let imports = check("train");
    let circle: Vec<&String> = imports.keys().filter(|room| is_in_a_circle(room, &imports)).collect();
    assert!(circle.is_empty(), "{circle:?}");
}
