//! What is wrong on the command line, in the settings, or with the data folder.

use std::os::unix::fs::PermissionsExt;

use super::{assert_production_untouched, assert_says, two_environments};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_nobody_knows_is_named_with_those_that_are() {
    let world = two_environments().await;
    world.apply();
    world.proxy.reset();
    let worktree = world.path("clone").display().to_string();
    let verbs: [(&[&str], &str); 7] = [
        (&["plan", "prodution"], "it defines production, staging"),
        (&["plan", "prodution", "--worktree", &worktree], "it defines production, staging"),
        (&["apply", "prodution"], "it defines production, staging"),
        (&["status", "prodution"], "known are production, staging"),
        (&["history", "prodution"], "known are production, staging"),
        (&["rollback", "prodution"], "`trunkline status` lists the environments"),
        (&["resume", "prodution"], "`trunkline status` lists the environments"),
    ];
    for (verb, hint) in verbs {
        let ran = world.trunkline(verb);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{verb:?}: {ran:?}");
        assert_says(&ran.err, &["error", "prodution", &format!("  hint: {hint}")]);
    }
    let set = world.trunkline(&["secrets", "set", "prodution", "key", "--folder", &worktree]);
    assert_eq!(set.status, 1, "{set:?}");
    assert_says(&set.err, &["does not define the environment prodution"]);
    // With a daemon, which answers through its socket.
    let mut daemon = world.daemon();
    world.wait_ready("production", &world.head()).await;
    for verb in [&["apply", "prodution"], &["rollback", "prodution"], &["resume", "prodution"]] {
        let begun = std::time::Instant::now();
        let ran = world.trunkline(verb);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{verb:?}: {ran:?}");
        assert_says(&ran.err, &["prodution"]);
        assert!(begun.elapsed().as_secs() < 20, "{verb:?}");
    }
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    assert_production_untouched(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_told_apart_by_the_exit_status() {
    let world = World::empty().await;
    let cases: [(&[&str], &str); 7] = [
        (&["aply"], "apply"),
        (&["apply", "--forse"], "--forse"),
        (&["plan", "--output", "xml"], "possible values: text, json"),
        (&["run", "--poll", "1 fortnight"], "not an interval"),
        (&["rollback"], "<ENVIRONMENT>"),
        (&["status", "Not/An/Environment"], "Not/An/Environment"),
        (&[], "Usage"),
    ];
    for (arguments, says) in cases {
        let ran = world.trunkline(arguments);
        assert_eq!((ran.status, ran.out.as_str()), (64, ""), "{arguments:?}: {ran:?}");
        assert_says(&ran.err, &[says]);
    }
    assert_eq!(world.trunkline(&["--help"]).status, 0);
    assert_eq!(world.trunkline(&["--version"]).status, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_used_is_named() {
    let world = World::with_production().await;
    // A file where the folder is to be: no one can write there, not even root.
    std::fs::write(world.path("file"), "").unwrap();
    let data = world.path("file/data");
    for verb in ["apply", "run", "plan"] {
        let ran = world.trunkline(&[verb, "--data", data.to_str().unwrap()]);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert_says(&ran.err, &["cannot be used", "Not a directory", "  hint: ", "--data"]);
    }
    let none = world.trunkline(&["status", "--data", world.path("nothing").to_str().unwrap()]);
    assert_eq!(none.status, 1, "{none:?}");
    assert_says(&none.err, &["there is no store at", "  hint: "]);
    // One in which everybody may put things: a store, a socket, a repository with a configuration of its own.
    let open = world.path("open");
    std::fs::create_dir(&open).unwrap();
    for mode in [0o777, 0o775, 0o1777] {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        for verb in ["apply", "run"] {
            let ran = world.trunkline(&[verb, "--data", open.to_str().unwrap()]);
            assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
            assert_says(
                &ran.err,
                &[&format!("has mode {mode:04o}"), "others than its owner can write to it", "  hint: `chmod 700"],
            );
        }
        assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0, "nothing is put there");
        let found = open.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "somebody else's folder is not closed for them");
    }
    assert!(!world.host("/etc/motd").exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_is_named_and_nothing_is_applied() {
    let world = two_environments().await;
    world.apply();
    world.proxy.reset();
    let store = world.path("data/store.sqlite3");
    assert_eq!(store.metadata().unwrap().permissions().mode() & 0o777, 0o600, "plans are for the owner");
    let good = std::fs::read(&store).unwrap();
    for name in ["store.sqlite3-wal", "store.sqlite3-shm"] {
        let _ = std::fs::remove_file(world.path("data").join(name));
    }
    std::fs::write(&store, "these are not the bytes of a store\n".repeat(300)).unwrap();
    for arguments in [&["apply"][..], &["run"], &["status", "--output", "json"], &["history", "--output", "json"]] {
        let ran = world.trunkline(arguments);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert_says(&ran.err, &[store.to_str().unwrap(), "is damaged, or is no store", "  hint: ", "backup"]);
    }
    assert_production_untouched(&world).await;
    std::fs::write(&store, good).unwrap();
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_definitions_that_is_none_is_named() {
    let world = World::empty().await;
    std::fs::write(world.path("file"), "").unwrap();
    for (folder, says) in [("nothing", "No such file or directory"), ("file", "not a directory")] {
        let folder = world.path(folder);
        let folder = folder.to_str().unwrap();
        for arguments in [&["check", folder][..], &["plan", "--worktree", folder], &["secrets", "list", "--folder", folder]] {
            let ran = world.trunkline(arguments);
            assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
            let cannot = format!("the folder {folder} cannot be read: {says}");
            assert_says(&ran.err, &[&cannot, "  hint: name the folder of definitions"]);
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_says_what_there_is_where_it_does_not_have_what_is_asked_for() {
    let world = two_environments().await;
    world.apply();
    let cases: [(&[&str], &[&str]); 2] = [
        (&["history", "production", "--generation", "9"], &["production has no generation 9", "  hint: the newest is 1"]),
        (&["history", "--generation", "1"], &["exactly one environment", "  hint: name one of production, staging"]),
    ];
    for (arguments, says) in cases {
        let ran = world.trunkline(arguments);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert_says(&ran.err, says);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_cannot_start_says_what_to_do() {
    let world = World::empty().await;
    let taken = world.edge.as_ref().unwrap().api_addr().to_string();
    let (token, data) = (world.path("token"), world.path("second-edge"));
    std::fs::write(&token, "a token\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let start = |token: &std::path::Path, more: &[&str]| {
        let flags = ["edge", "--http", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
        let ran = world.trunkline(&[&flags[..], more].concat());
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        ran.err
    };
    let occupied = start(&token, &["--listen", &taken]);
    assert_says(&occupied, &["cannot listen on", &taken, "  hint: another program listens there"]);
    assert!(occupied.contains("Others than its owner can read the token") && occupied.contains("0644"), "{occupied}");
    let missing = start(&world.path("no-token"), &["--listen", "127.0.0.1:0"]);
    assert_says(&missing, &["no-token", "No such file", "  hint: make it with `(umask 077;"]);
    let other = start(&token, &["--listen", "127.0.0.1:0", "--workerd", "/bin/true"]);
    assert_says(&other, &["is not a workerd program that runs here", "  hint: install it with `npm install workerd`"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_with_faults_and_a_remote_that_is_missing_or_none_are_told() {
    let world = World::with_production().await;
    let settings = world.path("daemon.toml");
    let faults: [(&str, &[&str]); 6] = [
        ("[repository\nremote = \"x\"\n", &["daemon.toml:1:12", "[repository", "^"]),
        ("[repository]\nremotte = \"/srv/x.git\"\n", &["daemon.toml:2:1", "remotte", "^^^^", "did you mean `remote`?"]),
        ("[repository]\npoll = \"soon\"\n", &["daemon.toml:2:8", "soon", "^^^^"]),
        ("[repository]\nwatch = \"yes\"\n", &["daemon.toml:2:9", "boolean", "^^^^"]),
        ("[repository]\nschedules = [\"every day\"]\n", &["every day"]),
        ("[policy]\nmax_deletes = -1\n", &["daemon.toml:2:15", "^"]),
    ];
    for (text, says) in faults {
        std::fs::write(&settings, text).unwrap();
        let ran = world.trunkline(&["run", "--config", settings.to_str().unwrap()]);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert_says(&ran.err, says);
    }
    let missing = world.trunkline(&["run", "--config", world.path("nothing.toml").to_str().unwrap()]);
    assert_eq!(missing.status, 1, "{missing:?}");
    assert_says(&missing.err, &["nothing.toml cannot be read"]);

    for verb in ["run", "apply", "plan"] {
        let output = world.command(&[verb]).env_remove("TRUNKLINE_REMOTE").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert_says(&String::from_utf8(output.stderr).unwrap(), &["no repository is named", "  hint: ", "--remote"]);
    }
    let remotes = [
        ("https://user:password@git.example.com/config.git", "a remote cannot hold credentials"),
        ("http://git.example.com/config.git", "loopback"),
        ("ftp://git.example.com/config.git", "is not allowed"),
        ("config.git", "a path must be absolute"),
        ("--upload-pack=/bin/sh", "cannot begin with `-`"),
    ];
    for (remote, says) in remotes {
        let output = world.command(&["run"]).env("TRUNKLINE_REMOTE", remote).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{remote}");
        let err = String::from_utf8(output.stderr).unwrap();
        assert_says(&err, &["the remote cannot be followed", says]);
        assert!(!err.contains("user:password"), "{err}");
    }
    let output = world.command(&["run", "--branch", "..bad.."]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8(output.stderr).unwrap(), &["..bad..", "branch"]);
    assert!(!world.host("/etc/motd").exists());
    world.end().await;
}
