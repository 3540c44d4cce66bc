//! Notes, applied refs and proposals, as people see them in their clones.

use std::fs;

use serde_json::json;
use trunkline::model::EnvironmentId;
use trunkline::source::{Options, Pushed, Source, SourceError};

use super::remote::Remote;

fn line(generation: u32) -> serde_json::Value {
    json!({ "at": format!("2026-11-23T18:{generation:02}:00Z"), "environment": "production", "generation": generation, "text": "a\nb" })
}

#[test]
fn a_clone_shows_what_ran_where_and_when() {
    let remote = Remote::new();
    let source = remote.open();
    let head = source.fetch().unwrap().revision.commit;
    for generation in [1, 2, 2, 1] {
        source.annotate(&head, &line(generation)).unwrap();
    }
    let production: EnvironmentId = "production".parse().unwrap();
    let other: EnvironmentId = "production/production".parse().unwrap();
    source.set_applied(&production, &head).unwrap();
    source.set_applied(&other, &head).unwrap();
    assert_eq!(source.push_records().unwrap(), Pushed::Done);
    assert_eq!(source.applied().unwrap()[&production], head);

    let clone = remote.folder.path().join("clone");
    remote.git_in(remote.folder.path(), &["clone", "-q", remote.bare().to_str().unwrap(), "clone"]);
    remote.git_in(&clone, &["fetch", "-q", "origin", "refs/notes/*:refs/notes/*", "refs/trunkline/*:refs/trunkline/*"]);
    let log = remote.git_in(&clone, &["log", "--notes=trunkline"]);
    assert_eq!(log.matches("\"generation\":").count(), 2, "{log}");
    assert!(log.contains(&line(2).to_string()), "{log}");
    assert_eq!(remote.git_in(&clone, &["rev-parse", "refs/trunkline/applied/default/production"]), head);
    assert_eq!(remote.git_in(&clone, &["rev-parse", "refs/trunkline/applied/production/production"]), head);

    // Nothing new: nothing is sent, so it works while the remote is away.
    fs::rename(remote.bare(), remote.folder.path().join("away")).unwrap();
    assert_eq!(source.push_records().unwrap(), Pushed::Done);
    source.annotate(&head, &line(3)).unwrap();
    assert!(matches!(source.push_records(), Err(SourceError::Unreachable { .. })));
    fs::rename(remote.folder.path().join("away"), remote.bare()).unwrap();
    assert_eq!(source.push_records().unwrap(), Pushed::Done);
}

#[test]
fn a_lost_database_gets_its_record_back() {
    let remote = Remote::new();
    let source = remote.open();
    let first = source.fetch().unwrap().revision.commit;
    let second = remote.change("b.toml", "");
    source.fetch().unwrap();
    source.annotate(&first, &line(1)).unwrap();
    source.annotate(&second, &line(2)).unwrap();
    source.push_records().unwrap();
    let records = source.records().unwrap();
    drop(source);
    fs::remove_dir_all(remote.database()).unwrap();
    let source = remote.open();
    assert_eq!(source.records().unwrap(), []);
    source.fetch().unwrap();
    assert_eq!(source.records().unwrap(), records);
    assert!(records.contains(&(first, line(1).to_string())) && records.contains(&(second, line(2).to_string())));
}

#[test]
fn two_writers_lose_no_line() {
    let remote = Remote::new();
    let one = remote.open();
    let two = Source::open(Options { database: remote.folder.path().join("second"), ..remote.options() }).unwrap();
    let head = one.fetch().unwrap().revision.commit;
    two.fetch().unwrap();
    for generation in 0..6 {
        let (source, other) = if generation % 2 == 0 { (&one, &two) } else { (&two, &one) };
        source.annotate(&head, &line(generation)).unwrap();
        other.annotate(&head, &line(generation + 10)).unwrap();
        assert_eq!(source.push_records().unwrap(), Pushed::Done);
        assert_eq!(other.push_records().unwrap(), Pushed::Done, "merged and pushed again");
    }
    one.fetch().unwrap();
    assert_eq!(one.records().unwrap().len(), 12);
    let shown = remote.git_in(&remote.bare(), &["notes", "--ref=trunkline", "show", &head]);
    assert_eq!(shown.lines().count(), 12, "{shown}");
}

#[test]
fn notes_in_any_form_that_git_makes_are_kept() {
    let remote = Remote::new();
    let commits: Vec<String> = (0..5).map(|n| remote.commit(&[], &format!("commit {n}"))).collect();
    remote.push();
    for commit in &commits {
        remote.git(&["notes", "--ref=trunkline", "add", "-m", &format!("by hand on {commit}"), commit]);
    }
    remote.git(&["push", "-q", "origin", "refs/notes/trunkline"]);
    let source = remote.open();
    source.fetch().unwrap();
    source.annotate(&commits[0], &line(1)).unwrap();
    assert_eq!(source.push_records().unwrap(), Pushed::Done);
    assert_eq!(source.records().unwrap().len(), 6);
    let shown = |n: usize| remote.git_in(&remote.bare(), &["notes", "--ref=trunkline", "show", &commits[n]]);
    assert!(shown(0).contains("by hand") && shown(0).contains("generation"), "{}", shown(0));
    assert!(shown(4).contains("by hand"));
    assert_eq!(remote.git_in(&remote.bare(), &["ls-tree", "refs/notes/trunkline"]).matches(" blob ").count(), 0, "one form only");
    // And a person adds one to ours, by git.
    remote.git(&["fetch", "-q", "origin", "+refs/notes/trunkline:refs/notes/trunkline"]);
    remote.git(&["notes", "--ref=trunkline", "append", "-m", "a remark", &commits[0]]);
    remote.git(&["push", "-q", "origin", "refs/notes/trunkline"]);
    source.annotate(&commits[1], &line(2)).unwrap();
    assert_eq!(source.push_records().unwrap(), Pushed::Done);
    assert_eq!(source.records().unwrap().len(), 8);
}

#[test]
fn a_push_that_the_remote_does_not_allow_is_reported() {
    let remote = Remote::new();
    remote.hook("update", "#!/bin/sh\ncase $1 in refs/notes/*) echo 'no notes here' >&2; exit 1;; esac\n");
    let source = remote.open();
    let head = source.fetch().unwrap().revision.commit;
    source.annotate(&head, &line(1)).unwrap();
    source.set_applied(&"production".parse().unwrap(), &head).unwrap();
    match source.push_records().unwrap() {
        Pushed::Refused(reason) => assert!(reason.contains("hook declined"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        remote.git_in(&remote.bare(), &["rev-parse", "refs/trunkline/applied/default/production"]),
        head,
        "the rest is there"
    );
    assert_eq!(source.records().unwrap().len(), 1, "our own record stays");

    let off = Options { push_records: false, database: remote.folder.path().join("off"), ..remote.options() };
    assert_eq!(Source::open(off).unwrap().push_records().unwrap(), Pushed::Off);
}

#[test]
fn a_revert_is_proposed_on_a_branch_of_its_own() {
    let remote = Remote::new();
    remote.change("envs/production.toml", "good\n");
    let good = remote.change("envs/staging.toml", "good\n");
    remote.change("envs/production.toml", "bad\n");
    remote.change("envs/new/added.toml", "bad\n");
    let base = remote.change("envs/staging.toml", "newer\n");
    let source = remote.open();
    source.fetch().unwrap();

    let paths = ["envs/production.toml".to_owned(), "envs/new/added.toml".to_owned(), "never/was.toml".to_owned()];
    let propose =
        |branch: &str, paths: Option<&[String]>| source.propose_revert(branch, &base, &good, paths, "Revert production\n");
    let proposal = propose("trunkline/revert-production-1a2b3c4", Some(&paths)).unwrap();
    assert!(proposal.pushed, "{proposal:?}");
    assert_eq!(propose("trunkline/revert-production-1a2b3c4", Some(&paths)).unwrap(), proposal, "no second commit");

    remote.git(&["fetch", "-q", "origin", &proposal.branch]);
    assert_eq!(remote.git(&["rev-parse", "FETCH_HEAD", "FETCH_HEAD^"]), format!("{}\n{base}", proposal.commit));
    assert_eq!(remote.git(&["diff", "--name-status", &base, "FETCH_HEAD"]), "D\tenvs/new/added.toml\nM\tenvs/production.toml");
    assert_eq!(remote.git(&["show", "FETCH_HEAD:envs/production.toml"]), "good");
    remote.git(&["fsck", "--strict"]);
    assert_eq!(remote.git_in(&remote.bare(), &["rev-parse", "main"]), base, "the followed branch is untouched");

    let whole = propose("trunkline/revert-all", None).unwrap();
    remote.git(&["fetch", "-q", "origin", &whole.branch]);
    assert_eq!(remote.git(&["diff", "--name-status", &good, "FETCH_HEAD"]), "");

    let folder = propose("trunkline/revert-folder", Some(&["envs/new".to_owned()])).unwrap();
    remote.git(&["fetch", "-q", "origin", &folder.branch]);
    assert_eq!(remote.git(&["diff", "--name-status", &base, "FETCH_HEAD"]), "D\tenvs/new/added.toml");

    assert!(matches!(propose("main", None), Err(SourceError::FollowedBranch(_))));
    assert!(matches!(propose("--force", None), Err(SourceError::Branch(_))));
    assert!(matches!(propose("x", Some(&["a.toml".to_owned()])), Err(SourceError::NothingToRevert { .. })));

    fs::rename(remote.bare(), remote.folder.path().join("away")).unwrap();
    let waiting = propose("trunkline/later", None).unwrap();
    assert!(!waiting.pushed && waiting.reason.as_ref().is_some_and(|r| !r.contains("warning")), "{waiting:?}");
    fs::rename(remote.folder.path().join("away"), remote.bare()).unwrap();
    let sent = propose("trunkline/later", None).unwrap();
    assert_eq!((sent.pushed, sent.commit), (true, waiting.commit));

    // A branch that somebody else has made is not overwritten.
    remote.git(&["push", "-q", "origin", &format!("{good}:refs/heads/trunkline/taken")]);
    remote.git(&["commit", "-q", "--allow-empty", "-m", "theirs"]);
    remote.git(&["push", "-q", "--force", "origin", "HEAD:refs/heads/trunkline/taken"]);
    let refused = propose("trunkline/taken", None).unwrap();
    assert!(!refused.pushed, "{refused:?}");
    assert_eq!(remote.git_in(&remote.bare(), &["rev-parse", "trunkline/taken"]), remote.git(&["rev-parse", "HEAD"]));
}
