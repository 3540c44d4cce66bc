//! What of a commit can be read, at what cost, and what is refused.

use std::fs;
use std::os::unix::fs::symlink;

use trunkline::model::{EntryMode, Recorder, Tree, TreeError};
use trunkline::source::{Folder, Limits, Options, Source};

use super::remote::Remote;

fn refusals(tree: &dyn Tree) {
    assert_eq!(tree.entry("link.toml").unwrap().unwrap().mode, EntryMode::Symlink);
    assert_eq!(tree.entry("sub").unwrap().unwrap().mode, EntryMode::Submodule);
    for path in ["link.toml", "other/a.toml", "other", "sub/x", "sub", "envs"] {
        let error = tree.read(path, 1000).unwrap_err();
        assert!(matches!(error, TreeError::Refused { .. }), "{path}: {error}");
        assert!(!error.to_string().contains("root:"), "{error}");
    }
    for path in ["other", "sub"] {
        assert!(matches!(tree.list(path), Err(TreeError::Refused { .. })), "{path}");
    }
    for path in ["../a.toml", "/etc/passwd", "envs/../a.toml", "envs/", ".git/config"] {
        assert!(matches!(tree.read(path, 1000), Err(TreeError::Name { .. })), "{path}");
    }
    assert!(tree.read("missing", 1000).unwrap().is_none());
    assert!(tree.read("a.toml/x", 1000).unwrap().is_none());
    assert!(tree.list("a.toml").unwrap().is_none());
    assert_eq!(&*tree.read("a.toml", 8).unwrap().unwrap(), b"one = 1\n");
    assert!(matches!(tree.read("a.toml", 7), Err(TreeError::TooLarge { size: 8, limit: 7, .. })));
    let names: Vec<String> = tree.list("").unwrap().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a.toml", "envs", "link.toml", "other", "run", "sub"]);
    assert_eq!(tree.entry("run").unwrap().unwrap().mode, EntryMode::Executable);
    assert_eq!(tree.entry("").unwrap().unwrap().mode, EntryMode::Folder);
}

fn prepared() -> Remote {
    let remote = Remote::new();
    symlink("/etc/passwd", remote.work().join("link.toml")).unwrap();
    symlink("envs", remote.work().join("other")).unwrap();
    fs::write(remote.work().join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(remote.work().join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sub = remote.work().join("sub");
    fs::create_dir(&sub).unwrap();
    remote.git_in(&sub, &["init", "-q"]);
    remote.git_in(&sub, &["commit", "-q", "--allow-empty", "-m", "x"]);
    remote.change("envs/a.toml", "x = 1\n");
    remote
}

#[test]
fn links_and_submodules_are_never_followed_in_a_commit() {
    let remote = prepared();
    let source = remote.open();
    let head = source.fetch().unwrap().revision.commit;
    refusals(&source.tree(&head).unwrap());
}

#[test]
fn a_folder_is_read_by_the_same_rules() {
    let remote = prepared();
    refusals(&Folder::open(&remote.work(), Limits::default()).unwrap());
}

#[test]
fn a_folder_and_its_commit_have_the_same_input_id() {
    let remote = Remote::new();
    fs::write(remote.work().join(".gitignore"), "node_modules/\n*.log\n").unwrap();
    let commit = remote.commit(&[("envs/a.toml", "x = 1\n"), ("envs/é.toml", "y = 1\r\n")], "x");
    remote.push();
    fs::create_dir_all(remote.work().join("node_modules/x")).unwrap();
    fs::write(remote.work().join("node_modules/x/index.js"), "ignored").unwrap();
    fs::write(remote.work().join("envs/x.log"), "ignored").unwrap();
    let source = remote.open();
    source.fetch().unwrap();
    let look = |tree: &dyn Tree| {
        let recorder = Recorder::new(tree);
        recorder.list("").unwrap();
        for (name, _) in recorder.list("envs").unwrap().unwrap() {
            recorder.read(&format!("envs/{name}"), 1000).unwrap();
        }
        recorder.read("missing.toml", 1000).unwrap();
        recorder.read("node_modules/x/index.js", 1000).unwrap();
        recorder.into_inputs()
    };
    let committed = look(&source.tree(&commit).unwrap());
    let folder = look(&Folder::open(&remote.work(), Limits::default()).unwrap());
    assert_eq!(committed.id(), folder.id());
    fs::write(remote.work().join("envs/a.toml"), "x = 2\n").unwrap();
    assert_ne!(committed.id(), look(&Folder::open(&remote.work(), Limits::default()).unwrap()).id());
}

/// Trees that git itself would not make, written into the database as if a fetch had let them through.
#[test]
fn a_tree_with_a_bad_or_repeated_name_is_refused_whole() {
    let remote = Remote::new();
    remote.open().fetch().unwrap();
    let blob = git2::Oid::hash_object(git2::ObjectType::Blob, b"one = 1\n").unwrap();
    type Entries<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(&str, Entries<'_>); 7] = [
        ("two files of one name", &[("100644", b"a.toml"), ("100644", b"a.toml")]),
        ("a link and a folder", &[("120000", b"a.toml"), ("40000", b"a.toml")]),
        ("git's folder", &[("40000", b".GIT"), ("100644", b"a.toml")]),
        ("the folder above", &[("100644", b".."), ("100644", b"a.toml")]),
        ("a control character", &[("100644", b"a.toml"), ("100644", b"a.toml\r")]),
        ("no text", &[("100644", b"a.toml"), ("100644", b"\xff")]),
        ("a separator", &[("100644", b"a.toml"), ("100644", b"a\\b")]),
    ];
    for (what, entries) in cases {
        let mut raw = Vec::new();
        for (mode, name) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(blob.as_bytes());
        }
        let repository = git2::Repository::open_bare(remote.database()).unwrap();
        let tree = repository.odb().unwrap().write(git2::ObjectType::Tree, &raw).unwrap();
        let text = format!("tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n");
        let commit = repository.odb().unwrap().write(git2::ObjectType::Commit, text.as_bytes()).unwrap().to_string();
        let source = remote.open();
        let tree = source.tree(&commit).unwrap();
        let error = tree.read("a.toml", 1000).unwrap_err();
        assert!(matches!(error, TreeError::Name { .. }), "{what}: {error}");
        assert!(!error.to_string().contains('\r'), "{what}");
        assert!(tree.list("").is_err(), "{what}");
    }
}

#[test]
fn depth_and_number_of_entries_are_bounded() {
    let remote = Remote::new();
    let deep = "d/".repeat(20) + "a.toml";
    remote.commit(&[(deep.as_str(), "x")], "deep");
    let many: Vec<String> = (0..200).map(|n| format!("many/{n}")).collect();
    remote.commit(&many.iter().map(|path| (path.as_str(), "")).collect::<Vec<_>>(), "many");
    remote.push();
    let limits = Limits { depth: 10, entries: 100, blob_bytes: 4, ..Limits::default() };
    let source = Source::open(Options { limits, ..remote.options() }).unwrap();
    let head = source.fetch().unwrap().revision.commit;
    let tree = source.tree(&head).unwrap();
    assert!(matches!(tree.read(&deep, 100), Err(TreeError::TooMany { limit: 10, .. })));
    assert!(matches!(tree.list("many"), Err(TreeError::TooMany { limit: 100, .. })));
    assert!(matches!(tree.read("a.toml", 100), Err(TreeError::TooLarge { limit: 4, .. })));
}

#[test]
fn one_changed_file_costs_a_few_objects_whatever_the_size_of_the_repository() {
    let cost = |folders: usize| {
        let remote = Remote::new();
        let files: Vec<String> = (0..folders * 10).map(|n| format!("envs/f{}/{n}.toml", n % folders)).collect();
        remote.commit(&files.iter().map(|path| (path.as_str(), path.as_str())).collect::<Vec<_>>(), "many");
        remote.push();
        let source = remote.open();
        let look = |commit: &str| {
            let tree = source.tree(commit).unwrap();
            let recorder = Recorder::new(&tree);
            for (folder, _) in recorder.list("envs").unwrap().unwrap() {
                for (name, _) in recorder.list(&format!("envs/{folder}")).unwrap().unwrap() {
                    recorder.read(&format!("envs/{folder}/{name}"), 1000).unwrap();
                }
            }
            recorder.into_inputs()
        };
        let inputs = look(&source.fetch().unwrap().revision.commit);
        let commit = remote.change("envs/f3/3.toml", "changed");
        source.fetch().unwrap();
        let before = source.objects_read();
        // Whether anything changed: every path that was read is looked up.
        assert!(!inputs.unchanged(&source.tree(&commit).unwrap()).unwrap());
        source.tree(&commit).unwrap().read("envs/f3/3.toml", 1000).unwrap();
        source.objects_read() - before
    };
    let (small, large) = (cost(10), cost(100));
    assert_eq!(small, large, "constant in the size of the repository");
    // The commit, three trees, one file.
    assert_eq!(large, 5);
}
