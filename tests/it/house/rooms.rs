//! The table of rooms in the crate doc, and whether the sources keep to it.

use std::collections::{BTreeMap, BTreeSet};

use super::syntax::{paths, tokens};

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) name: String,
    pub(crate) pure: bool,
    /// The rooms that it may import, `above` written out.
    pub(crate) may: BTreeSet<String>,
}

/// The table of rooms in the documentation of `lib`.
pub(crate) fn parse_table(lib: &str) -> Result<Vec<Room>, String> {
    let rows = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .skip_while(|line| *line != "| room | purpose | may import |")
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut rooms: Vec<Room> = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [first, purpose, may] = cells.as_slice() else { return Err(format!("not three cells: {row}")) };
        let name = first.split('`').nth(1).ok_or_else(|| format!("no room in backticks: {row}"))?;
        if purpose.is_empty() || rooms.iter().any(|room| room.name == name) {
            return Err(format!("`{name}` has no purpose or stands there twice"));
        }
        let may = match *may {
            "—" => BTreeSet::new(),
            "above" => rooms.iter().map(|room| room.name.clone()).collect(),
            names => names.split(", ").map(str::to_owned).collect(),
        };
        rooms.push(Room { name: name.to_owned(), pure: first.ends_with("(pure)"), may });
    }
    if rooms.is_empty() { Err("the crate doc has no table of rooms".to_owned()) } else { Ok(rooms) }
}

/// What is wrong with the table itself: unknown rooms, cycles, rooms without a folder and folders without a row.
pub(crate) fn faults_of_table(rooms: &[Room], sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let names: BTreeSet<&str> = rooms.iter().map(|room| room.name.as_str()).collect();
    for room in rooms {
        for unknown in room.may.iter().filter(|may| !names.contains(may.as_str())) {
            faults.push(format!("`{}` may import `{unknown}`, which is no room", room.name));
        }
    }
    let there: BTreeSet<&str> =
        sources.keys().filter(|path| !matches!(path.as_str(), "lib.rs" | "main.rs")).map(|path| room_of(path)).collect();
    faults.extend(there.difference(&names).map(|name| format!("`{name}` is in src and not in the table")));
    faults.extend(names.difference(&there).map(|name| format!("`{name}` is in the table and not in src")));
    let graph = rooms.iter().map(|room| (room.name.clone(), room.may.clone())).collect();
    faults.extend(cycle(&graph).map(|cycle| format!("the table allows a cycle: {cycle}")));
    faults
}

/// The room that a file below `src` belongs to.
pub(crate) fn room_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Imports that the table does not allow, and cycles among those that there are.
pub(crate) fn faults_of_imports(rooms: &[Room], sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources {
        let found: BTreeSet<(String, usize)> = imports(path, text).into_iter().collect();
        for (imported, line) in found {
            let importer = room_of(path);
            if importer == imported || !rooms.iter().any(|room| room.name == imported) {
                continue;
            }
            graph.entry(importer.to_owned()).or_default().insert(imported.clone());
            let allowed = match importer {
                "lib" => true,
                // The binary is thin: it calls the command line.
                "main" => imported == "cli",
                _ => rooms.iter().any(|room| room.name == importer && room.may.contains(&imported)),
            };
            if !allowed {
                faults.push(format!("src/{path}:{line}: `{importer}` may not import `{imported}`"));
            }
        }
    }
    faults.extend(cycle(&graph).map(|cycle| format!("the imports form a cycle: {cycle}")));
    faults
}

/// The items of the crate's root that the file names, with their lines.
fn imports(path: &str, text: &str) -> Vec<(String, usize)> {
    let own = path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").count();
    let own = if matches!(path, "lib.rs" | "main.rs") { 0 } else { own };
    paths(&tokens(text))
        .into_iter()
        .filter_map(|named| {
            let up = named.path.iter().take_while(|part| *part == "super").count();
            let first = match named.path[0].as_str() {
                "crate" | "trunkline" => 1,
                "super" if up == own + named.inner => up,
                _ => return None,
            };
            Some((named.path.get(first)?.clone(), named.line))
        })
        .collect()
}

/// One cycle of `graph`, as `a -> b -> a`.
fn cycle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    fn visit<'a>(
        at: &'a str,
        graph: &'a BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(begin) = way.iter().position(|seen| *seen == at) {
            return Some([&way[begin..], &[at]].concat().join(" -> "));
        }
        if done.contains(at) {
            return None;
        }
        way.push(at);
        let found = graph.get(at).into_iter().flatten().find_map(|next| visit(next, graph, way, done));
        way.pop();
        done.insert(at);
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|at| visit(at, graph, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Words.\n//!\n//! | room | purpose | may import |\n//! |---|---|---|\n//! | `model` (pure) | nouns | — |\n//! | `plan` (pure) | diff | model |\n//! | `store` | records | model, plan |\n//! | `cli` | verbs | above |\n//!\npub mod model;\n";

    fn with(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut sources: BTreeMap<String, String> =
            ["model/mod.rs", "plan/mod.rs", "store/mod.rs", "cli/mod.rs"].map(|path| (path.to_owned(), String::new())).into();
        sources.extend(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
        sources
    }

    fn imports_of(files: &[(&str, &str)]) -> Vec<String> {
        faults_of_imports(&parse_table(LIB).unwrap(), &with(files))
    }

    #[test]
    fn the_table_is_read() {
        let rooms = parse_table(LIB).unwrap();
        assert_eq!(rooms.iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), ["model", "plan", "store", "cli"]);
        assert_eq!(rooms.iter().map(|room| room.pure).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!(rooms[3].may.len(), 3);
        assert!(parse_table("//! no table").is_err());
        assert_eq!(faults_of_table(&rooms, &with(&[])), Vec::<String>::new());
    }

    #[test]
    fn planted_imports_are_found_in_every_spelling() {
        for (path, text) in [
            ("model/a.rs", "use crate::plan::Plan;"),
            ("model/a.rs", "use crate::{model::A, plan::{self, Plan}};"),
            ("model/a.rs", "fn f() { let x = crate::plan::pending(&p); }"),
            ("model/a.rs", "use super::super::plan::Plan;"),
            ("model/deep/b.rs", "use super::super::super::plan::Plan;"),
            ("model/mod.rs", "use super::plan::Plan;"),
            ("model/a.rs", "mod tests { use super::super::super::plan::Plan; }"),
            ("model/a.rs", "use trunkline::plan::Plan;"),
            ("model/a.rs", "pub use crate::plan as other;"),
            ("plan/a.rs", "/* */ use crate :: store :: Store ;"),
            ("main.rs", "use trunkline::store::Store;"),
        ] {
            let faults = imports_of(&[(path, text)]);
            assert_eq!(faults.len(), 1, "{path}: {text}: {faults:?}");
            assert!(faults[0].contains("may not import"), "{faults:?}");
        }
    }

    #[test]
    fn allowed_imports_and_mere_words_are_no_faults() {
        let allowed = [
            ("plan/a.rs", "use crate::model::Address; use super::Plan; use super::super::model::Value; use crate::plan::Change;"),
            ("plan/mod.rs", "mod store; use self::store::x; use store::y; // crate::store\n const A: &str = \"crate::store\";"),
            ("plan/b.rs", "mod tests { use super::super::store::Fake; }"),
            ("cli/a.rs", "use crate::{model, plan, store};"),
            ("main.rs", "fn main() { trunkline::cli::run() }"),
        ];
        assert_eq!(imports_of(&allowed), Vec::<String>::new());
    }

    #[test]
    fn cycles_unknown_rooms_and_missing_folders_are_found() {
        let cyclic = LIB.replace("| nouns | — |", "| nouns | store |");
        let faults = faults_of_table(&parse_table(&cyclic).unwrap(), &with(&[]));
        assert_eq!(faults, ["the table allows a cycle: model -> store -> model"]);
        let both = imports_of(&[("model/a.rs", "use crate::plan::A;"), ("plan/a.rs", "use crate::model::B;")]);
        assert!(both.contains(&"the imports form a cycle: model -> plan -> model".to_owned()), "{both:?}");
        let unknown = LIB.replace("| model, plan |", "| model, attic |");
        assert!(faults_of_table(&parse_table(&unknown).unwrap(), &with(&[]))[0].contains("`attic`, which is no room"));
        let rooms = parse_table(LIB).unwrap();
        let more = faults_of_table(&rooms, &with(&[("attic/mod.rs", "")]));
        assert_eq!(more, ["`attic` is in src and not in the table"]);
        let mut less = with(&[]);
        less.remove("store/mod.rs");
        assert_eq!(faults_of_table(&rooms, &less), ["`store` is in the table and not in src"]);
    }
}
