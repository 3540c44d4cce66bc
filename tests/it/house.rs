//! The house is as the crate doc of `src/lib.rs` says: rooms, what they import, purity, size, and how modules open.
//!
//! Each check is a function over given texts, so that it is shown to find what it is for.

mod checks;
mod rooms;
mod syntax;

use std::collections::BTreeMap;
use std::path::Path;

use rooms::{Room, faults_of_imports, faults_of_table, parse_table};

/// Every Rust file below `src`, by its path from there.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), found);
            } else if path.ends_with(".rs") {
                found.insert(path, std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut found);
    assert!(found.len() > 20, "only {} files were found", found.len());
    found
}

fn table() -> Vec<Room> {
    parse_table(&sources()["lib.rs"]).unwrap()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let (rooms, sources) = (table(), sources());
    assert_eq!(faults_of_table(&rooms, &sources), Vec::<String>::new());
    assert_eq!(faults_of_imports(&rooms, &sources), Vec::<String>::new());
}

#[test]
fn pure_rooms_do_no_input_or_output_and_read_no_clock() {
    assert!(table().iter().filter(|room| room.pure).count() >= 5);
    assert_eq!(checks::impure(&table(), &sources()), Vec::<String>::new());
}

#[test]
fn files_are_short_and_say_what_they_are() {
    assert_eq!(checks::too_long(&sources()), Vec::<String>::new());
    assert_eq!(checks::without_a_word(&table(), &sources()), Vec::<String>::new());
}

#[test]
fn no_shell_and_no_state_of_the_process() {
    assert_eq!(checks::shells(&sources()), Vec::<String>::new());
    assert_eq!(checks::process_state(&sources()), Vec::<String>::new());
}
