//! What moves the accepted head, and the states that hold it.

use std::fs;
use std::time::{Duration, Instant};

use trunkline::model::Retry;
use trunkline::source::{Limits, Options, Source, SourceError};

use super::remote::{Remote, running};

#[test]
fn a_push_is_seen_and_a_second_look_changes_nothing() {
    let remote = Remote::new();
    let source = remote.open();
    assert_eq!(source.head().unwrap(), None);
    let first = source.fetch().unwrap();
    assert!(first.changed);
    assert_eq!(first.revision.commit, remote.git(&["rev-parse", "HEAD"]));
    assert!(!source.fetch().unwrap().changed);
    let second = remote.change("b.toml", "");
    let fetched = source.fetch().unwrap();
    assert_eq!((fetched.changed, fetched.revision.commit.as_str()), (true, second.as_str()));
    assert_eq!(source.head().unwrap().unwrap().commit, second);
    assert!(source.is_ancestor(&first.revision.commit, &second).unwrap());
    assert!(!source.is_ancestor(&second, &first.revision.commit).unwrap());
}

#[test]
fn a_whole_history_is_fetched_so_that_old_revisions_can_be_rolled_back_to() {
    let remote = Remote::new();
    let first = remote.git(&["rev-parse", "HEAD"]);
    for n in 0..5 {
        remote
            .commit(&[("a.toml", &format!("n = {n}\n"))], &format!("number {n}\n\nAcknowledge: production/kv.sessions delete\n"));
    }
    remote.push();
    let source = remote.open();
    let head = source.fetch().unwrap().revision.commit;
    assert_eq!(source.resolve(&first[..8]).unwrap().commit, first);
    assert_eq!(source.resolve("HEAD~5").unwrap().commit, first);
    assert_eq!(source.resolve("main").unwrap().commit, head);
    for bad in ["nonsense", "--output=x", ":/number", "HEAD@{1}", "HEAD:a.toml", "", "0000000000000000000000000000000000000000"] {
        assert!(matches!(source.resolve(bad), Err(SourceError::UnknownRevision(_))), "{bad}");
    }
    let commits = source.commits(Some(&first), &head, 100).unwrap();
    assert_eq!(
        commits.iter().map(|c| c.summary.as_str()).collect::<Vec<_>>(),
        ["number 4", "number 3", "number 2", "number 1", "number 0"]
    );
    assert_eq!((commits[0].author.as_str(), commits[0].email.as_str()), ("Ada", "ada@example.com"));
    assert_eq!(commits[4].parents, std::slice::from_ref(&first));
    assert!(commits[0].message.contains("\nAcknowledge: production/kv.sessions delete\n"));
    assert_eq!(source.commits(None, &head, 3).unwrap().len(), 3);
    assert_eq!(source.changed_paths(&first, &head).unwrap(), ["a.toml"]);
}

#[test]
fn what_cannot_be_fetched_keeps_the_head() {
    let remote = Remote::new();
    let source = remote.open();
    let head = source.fetch().unwrap().revision;

    let away = remote.folder.path().join("away.git");
    fs::rename(remote.bare(), &away).unwrap();
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Transient);
    assert!(!error.to_string().contains("warning"), "{error}");
    assert!(error.hint().unwrap().contains("git ls-remote"));
    assert_eq!(source.head().unwrap().unwrap(), head);
    assert!(source.tree(&head.commit).is_ok(), "the last good state can be read while the remote is away");

    fs::rename(&away, remote.bare()).unwrap();
    remote.git_in(&remote.bare(), &["branch", "-m", "main", "other"]);
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::NoBranch { .. }), "{error}");
    assert_eq!(source.head().unwrap().unwrap(), head);

    fs::remove_dir_all(remote.bare()).unwrap();
    remote.git_in(remote.folder.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Empty(_)), "{error}");
    assert_eq!(source.head().unwrap().unwrap(), head);

    remote.git_in(remote.folder.path(), &["init", "-q", "--bare", "-b", "main", "--object-format=sha256", "sha256.git"]);
    fs::remove_dir_all(remote.bare()).unwrap();
    fs::rename(remote.folder.path().join("sha256.git"), remote.bare()).unwrap();
    let work = remote.folder.path().join("sha256");
    remote.git_in(remote.folder.path(), &["init", "-q", "-b", "main", "--object-format=sha256", "sha256"]);
    remote.git_in(&work, &["commit", "-q", "--allow-empty", "-m", "x"]);
    remote.git_in(&work, &["push", "-q", remote.bare().to_str().unwrap(), "HEAD:main"]);
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::ObjectFormat(_)), "{error}");
    assert_eq!(source.head().unwrap().unwrap(), head);
}

#[test]
fn a_rewritten_history_is_held_until_somebody_accepts_it() {
    let remote = Remote::new();
    let source = remote.open();
    let base = source.fetch().unwrap().revision.commit;
    let old = remote.change("a.toml", "one = 2\n");
    source.fetch().unwrap();

    for (what, rewrite) in
        [("a sibling", &["reset", "-q", "--hard", "HEAD~1"][..]), ("a new root", &["checkout", "-q", "--orphan", "fresh"])]
    {
        remote.git(rewrite);
        let new = remote.commit(&[("a.toml", what)], what);
        remote.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
        for _ in 0..2 {
            match source.fetch().unwrap_err() {
                SourceError::Rewritten { from, to, .. } => assert_eq!((from, to), (old.clone(), new.clone()), "{what}"),
                other => panic!("{what}: {other}"),
            }
            assert_eq!(source.head().unwrap().unwrap().commit, old, "{what}");
        }
    }
    // Back to an ancestor: a forced rollback is a rewritten history too.
    remote.git(&["push", "-q", "--force", "origin", &format!("{base}:main")]);
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Rewritten { .. }));
    assert_eq!(error.retry(), Retry::Stalled);

    assert!(matches!(source.accept(&old), Err(SourceError::NotOnBranch { .. })), "the branch no longer holds it");
    assert_eq!(source.accept(&base).unwrap().commit, base);
    assert_eq!(source.head().unwrap().unwrap().commit, base);
    assert!(!source.fetch().unwrap().changed);
    assert!(source.tree(&old).is_ok(), "what was abandoned can still be rolled back to");
}

#[test]
fn packs_beyond_the_bound_are_cut_off() {
    let remote = Remote::new();
    let source =
        Source::open(Options { limits: Limits { pack_bytes: 256 << 10, ..Limits::default() }, ..remote.options() }).unwrap();
    let head = source.fetch().unwrap().revision;
    // Text that does not compress.
    let noise: String = (0..200_000u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    remote.change("large.bin", &noise);
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
    assert_eq!(source.head().unwrap().unwrap(), head);
    let packs = fs::read_dir(remote.database().join("objects/pack")).unwrap();
    assert!(packs.flatten().all(|p| p.metadata().unwrap().len() < 256 << 10), "nothing of it is left");
}

#[test]
fn a_remote_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = Remote::new();
    let url = format!("http://127.0.0.1:{}/x.git", listener.local_addr().unwrap().port());
    let limits = Limits { wall_time: Duration::from_secs(6), ..Limits::default() };
    let source = Source::open(Options { remote: url.parse().unwrap(), limits, ..remote.options() }).unwrap();
    let start = Instant::now();
    let watched = url.clone();
    let control = std::thread::spawn(move || {
        let mut most = 0;
        while most < 2 && start.elapsed() < Duration::from_secs(6) {
            std::thread::sleep(Duration::from_millis(20));
            most = most.max(running(&watched));
        }
        most
    });
    let error = source.fetch().unwrap_err();
    assert!(control.join().unwrap() >= 2, "git and its helper are seen while they run");
    assert!(matches!(error, SourceError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60));
    let give_up = Instant::now() + Duration::from_secs(30);
    while running(&url) > 0 && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running(&url), 0, "no process outlives the call");
}

#[test]
fn a_redirect_is_not_followed_and_sends_nobody_a_token() {
    use std::io::{Read, Write};
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let target = elsewhere.local_addr().unwrap().port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/x.git", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let location = format!("http://127.0.0.1:{target}/evil.git/info/refs?service=git-upload-pack");
            let _ =
                write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let remote = Remote::new();
    let source = Source::open(Options { remote: url.parse().unwrap(), ..remote.options() }).unwrap();
    let error = source.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(elsewhere.accept().is_err(), "the other host was called");
}

#[test]
fn nothing_that_the_remote_or_the_database_configures_is_run() {
    let remote = Remote::new();
    let canary = remote.folder.path().join("canary");
    let touch = format!("touch {}", canary.display());
    for (key, value) in [
        ("core.fsmonitor", touch.as_str()),
        ("core.sshCommand", &touch),
        ("uploadpack.packObjectsHook", &touch),
        ("core.alternateRefsCommand", &touch),
        ("core.pager", &touch),
    ] {
        remote.git_in(&remote.bare(), &["config", key, value]);
    }
    let script = format!("#!/bin/sh\n{touch}\n");
    for name in ["post-checkout", "reference-transaction", "pre-auto-gc", "post-update", "pre-push"] {
        remote.hook(name, &script);
    }
    drop(remote.open());
    // The same again in the database, as if somebody had got at it.
    let config = remote.database().join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        format!(
            "{text}[core]\n\thooksPath = {0}\n\tsshCommand = {touch}\n\tfsmonitor = {touch}\n",
            remote.bare().join("hooks").display()
        ),
    )
    .unwrap();
    let source = remote.open();
    source.fetch().unwrap();
    fs::write(
        &config,
        format!("{text}[core]\n\thooksPath = {0}\n\tfsmonitor = {touch}\n", remote.bare().join("hooks").display()),
    )
    .unwrap();
    remote.change("b.toml", "");
    // The push above ran the remote's own hooks, as a push does.
    let _ = fs::remove_file(&canary);
    source.fetch().unwrap();
    assert!(!canary.exists(), "a hook or a command of a configuration was run");
}

#[test]
fn a_hundred_fetches_leave_few_packs_and_lose_nothing() {
    let remote = Remote::new();
    let source = remote.open();
    let first = source.fetch().unwrap().revision.commit;
    for n in 0..50 {
        remote.change("a.toml", &format!("n = {n}\n"));
        source.fetch().unwrap();
    }
    let packs = fs::read_dir(remote.database().join("objects/pack")).unwrap();
    let packs = packs.flatten().filter(|p| p.path().extension().is_some_and(|e| e == "pack")).count();
    assert!(packs <= 41, "{packs} packs");
    let head = source.head().unwrap().unwrap().commit;
    assert_eq!(source.commits(Some(&first), &head, 1000).unwrap().len(), 50);
    for commit in source.commits(None, &head, 1000).unwrap() {
        let tree = source.tree(&commit.id).unwrap();
        assert!(trunkline::model::Tree::read(&tree, "a.toml", 100).unwrap().is_some());
    }
}
