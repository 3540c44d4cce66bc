//! Planted secrets are looked for everywhere that anything is written, printed or shown, after the whole program has run
//! through its successes and its failures; and a control that is leaked into each of those places is found there.
//!
//! Secrets are those of Workers and of files, the password of a database, the private key of a certificate, the token of a
//! tunnel, which is in no definition, and what projects keep that are imported.
//!
//! Where a secret may be: in the file on the host that its template says, as that file is declared; in what the executor
//! keeps of replaced files, which only root reads, and where the digest of such a file as a whole may stand too (one who
//! reads it reads the file beside it); in the request to the edge; in memory.
#![allow(clippy::type_complexity, reason = "tables of values, each used once")]
#![allow(clippy::zombie_processes, reason = "a panic ends the test, and the test binary with it")]

mod agent;
mod platform;
mod programs;
mod rig;
mod search;
mod sinks;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::Method;

use crate::proxy::{Answer, Fault};
use rig::Rig;
use sinks::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_anywhere() {
    let mut rig = Rig::start().await;
    first_apply_and_rotation(&mut rig).await;
    refused_and_echoed(&mut rig).await;
    faults_of_definitions(&mut rig);
    faults_of_identities(&mut rig);
    killed(&mut rig).await;
    platform::refused_and_echoed(&mut rig).await;
    platform::builds(&mut rig);
    platform::imported(&mut rig);
    rig.ok(&["apply"]);
    rig.ok(&["plan"]);
    rig.ok(&["rollback", "production", "--owner", "ada"]);
    for verb in ["history", "status"] {
        rig.ran(&[verb]);
    }

    let control = rig.leak();
    let (hits, controls) = rig.search(&control);
    assert!(hits.is_empty(), "secrets were found:\n{}", hits.join("\n"));
    let missing: Vec<&Kind> = rig::KINDS.iter().filter(|kind| !controls.contains(kind)).collect();
    assert!(missing.is_empty(), "the control was not found in {missing:?}");
}

async fn first_apply_and_rotation(rig: &mut Rig) {
    rig.ok(&["check", rig.clone().to_str().unwrap()]);
    assert_eq!(rig.ran(&["plan"]).status, 2);
    let mut daemon = rig.daemon();
    rig.world.wait_ready("production", &rig.world.head()).await;
    for pid in [daemon.0.id(), rig.edge_pid()] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core: Vec<&str> = limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "{limits}");
    }
    let text = std::fs::read(rig.world.host("/etc/engine/engine.conf")).unwrap();
    assert!(text.windows(8).any(|window| window == rig.value("short").as_slice()), "the file does not hold its secrets");
    platform::token(rig).await;
    rig.verbs();
    // Every value is replaced: the file changes, and the Worker.
    rig.rotate();
    let folder = rig.clone();
    let plan = rig.ran(&["plan", "--worktree", folder.to_str().unwrap()]);
    assert_eq!((plan.status, plan.out.contains("changed")), (2, true), "{plan:?}");
    rig.world.commit("Other values");
    rig.ok(&["apply"]);
    rig.world.wait_ready("production", &rig.world.head()).await;
    rig.verbs();
    assert_eq!(daemon.terminate(), 0, "{}", rig.world.log());
}

/// The API refuses, breaks, and repeats what it was sent, in every form and cut anywhere.
async fn refused_and_echoed(rig: &mut Rig) {
    let echo = rig.echo();
    let error = |status: u16, code: u32, message: &str| {
        let body = serde_json::json!({
            "success": false, "errors": [{ "code": code, "message": message }], "messages": [], "result": null,
        });
        Fault::AnswerBefore(Answer::body(status, &body.to_string()))
    };
    let short = String::from_utf8(rig.value("short")).unwrap();
    let long = String::from_utf8(rig.value("long")).unwrap();
    let token = String::from_utf8(rig.value("edge-token")).unwrap();
    let success = serde_json::json!({ "success": true, "errors": [], "messages": [], "result": echo });
    let list = serde_json::json!({ "success": true, "errors": [], "messages": [], "result": { "id": [echo] } });
    let mut faults = vec![
        error(400, 10021, &format!("Uncaught Error: {short}")),
        error(400, 10021, &format!("{}{long}", "x".repeat(380))),
        error(400, 10021, &long[40..90]),
        error(403, 10000, &format!("Invalid token: Bearer {token}")),
        error(500, 10013, &echo),
        Fault::AnswerBefore(Answer::body(502, &echo)),
        Fault::AnswerBefore(Answer::body(200, &format!("<html>{echo}</html>"))),
        Fault::AnswerBefore(Answer::body(200, &success.to_string())),
        Fault::AnswerBefore(Answer::body(200, &list.to_string())),
        Fault::AnswerBefore(Answer::error(400, 1).header("cf-ray", &token)),
        Fault::DropBefore,
        Fault::DropAfter,
    ];
    // A refusal may not tell of a digest either, but no server makes one of ours.
    let forms = search::forms(&rig.value("quoted")).into_iter().filter(|(form, _)| !form.starts_with("sha"));
    let texts = forms.filter_map(|(_, bytes)| String::from_utf8(bytes).ok());
    let errors: Vec<_> = texts.map(|text| serde_json::json!({ "code": 10021, "message": text })).collect();
    assert!(errors.len() > 15);
    // One at a time would fit as well, but what is shown is cut.
    for some in errors.chunks(3) {
        let body = serde_json::json!({ "success": false, "errors": some, "messages": [], "result": null });
        faults.push(Fault::AnswerBefore(Answer::body(400, &body.to_string())));
    }
    for (index, fault) in faults.into_iter().enumerate() {
        rig.change(&format!("fault {index}"));
        rig.world.proxy.inject(Method::POST, "/versions", 1, fault);
        let ran = rig.ran(&["apply"]);
        assert_ne!(ran.status, 0, "fault {index}: {ran:?}");
        assert!(rig.world.proxy.writes().iter().any(|line| line.ends_with("/versions")), "fault {index} was not met");
        rig.world.proxy.reset();
    }
    rig.verbs_briefly();
    // Reading.
    rig.world.proxy.inject(Method::GET, "", 20, error(400, 7003, &echo));
    assert_ne!(rig.ran(&["plan"]).status, 0);
    assert_ne!(rig.ran(&["apply"]).status, 0);
    rig.world.proxy.reset();
    rig.ok(&["apply"]);
}

/// What is wrong with a template, a validate command, a Worker, and with what a secret is used for.
fn faults_of_definitions(rig: &mut Rig) {
    let production = "environments/production/production.toml";
    let template = "files/engine.conf";
    let edits = [
        (production, "# validate", "validate = [\"sh\", \"-c\", \"cat $0; cat $0 >&2; exit 1\", \"{}\"]"),
        (production, "# validate", "validate = [\"cat\", \"{}\", \"/nowhere\"]"),
        (production, "# validate", "owner = \"nobody-of-that-name\""),
        (template, "secret(\"short\")", "secret(\"short\") | upper"),
        (template, "secret(\"short\")", "secret(\"nowhere\")"),
        (template, "secret(\"short\")", "secret(\"short\").x.y"),
        ("workers/api/index.js", "export default", "import { x } from \"./nowhere.js\"; export default"),
        ("workers/api/index.js", "export default", "throw new Error(\"broken\"); export default"),
        (production, "SHORT = { secret = \"short\" }", "SHORT = { secret = \"binary\" }"),
        (production, "api_token = { secret = \"edge-token\" }", "api_token = { secret = \"quoted\" }"),
        (production, "api_token = { secret = \"edge-token\" }", "api_token = { secret = \"short\" }"),
        (production, "endpoint = \"http://127.0.0.1", "endpoint = \"http://127.0.0.2"),
    ];
    for (index, (path, from, to)) in edits.into_iter().enumerate() {
        rig.world.edit(path, from, to);
        // A file is validated when its content changes.
        rig.world.edit(template, "greeting =", &format!("# {index}\ngreeting ="));
        rig.world.commit("A fault");
        rig.ran(&["plan", "--output", "json"]);
        let ran = rig.ran(&["apply"]);
        assert_eq!(ran.status, 1, "{to}: {ran:?}");
        if path == template {
            let folder = rig.clone();
            rig.ran(&["check", folder.to_str().unwrap()]);
        }
        if path == production {
            rig.verbs_briefly();
        }
        rig.world.git(&["revert", "--no-edit", "HEAD"]);
        rig.world.git(&["push", "--quiet"]);
    }
    rig.ok(&["apply"]);
}

/// Identities that do not open the values, and that are none.
fn faults_of_identities(rig: &mut Rig) {
    let other = rig.world.path("other-identity");
    let other = other.to_str().unwrap();
    rig.ok(&["secrets", "keygen", other]);
    assert_eq!(rig.ran(&["secrets", "keygen", other]).status, 1);
    let (open, none, garbage) = (rig.world.path("open-identity"), rig.world.path("no-identity"), rig.world.path("garbage"));
    std::fs::copy(rig.world.path("identity"), &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
    // Somebody gave the file with a secret in place of the identity.
    std::fs::write(&garbage, rig.value("quoted")).unwrap();
    std::fs::set_permissions(&garbage, std::fs::Permissions::from_mode(0o600)).unwrap();
    rig.keep_out(&["open-identity", "other-identity", "garbage"]);
    let folder = rig.clone();
    let folder = folder.to_str().unwrap();
    for identity in [other, open.to_str().unwrap(), none.to_str().unwrap(), garbage.to_str().unwrap()] {
        for arguments in [&["apply"][..], &["plan"], &["secrets", "list", "--folder", folder], &["rollback", "production"]] {
            let ran = rig.ran_with(&[&["--identity", identity], arguments].concat(), &[]);
            assert_eq!(ran.status, 1, "{identity} {arguments:?}: {ran:?}");
        }
    }
    rig.ok(&["apply"]);
}

/// Killed while a body with secrets is on its way, and at boundaries of an apply.
async fn killed(rig: &mut Rig) {
    rig.rotate();
    rig.world.commit("Other values, again");
    rig.world.proxy.inject(Method::POST, "/versions", 1, Fault::Delay(Duration::from_secs(2)));
    let mut apply = rig.spawn(&["apply"]);
    while rig.world.proxy.writes().is_empty() {
        assert!(apply.try_wait().unwrap().is_none(), "the apply ended before it wrote");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    apply.kill().unwrap();
    rig.collect(&["apply", "killed"], &apply.wait_with_output().unwrap());
    // What it had not said yet is still in the write-ahead log.
    rig.read_data();
    rig.verbs_briefly();
    rig.world.proxy.reset();
    rig.ok(&["apply"]);
    if cfg!(feature = "failpoints") {
        for boundary in ["after_intent#1", "after_effect#1", "after_outcome#1", "before_end#1"] {
            rig.rotate();
            rig.world.commit("Other values, once more");
            let trace = rig.world.path(&format!("boundaries-{boundary}"));
            let trace = trace.to_str().unwrap();
            let ran = rig.ran_with(&["apply"], &[("TRUNKLINE_KILL_AT", boundary), ("TRUNKLINE_BOUNDARIES", trace)]);
            assert_eq!(ran.status, -1, "{boundary}: {ran:?}");
            rig.read_data();
            rig.ok(&["apply"]);
        }
    }
}
