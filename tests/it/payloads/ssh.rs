//! What `check` takes of a host that is reached by SSH: `ssh` gets it as one argument, and the login shell on the other side as
//! one word.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use trunkline::agent::EXECUTOR_VERB;

use super::judge::{Judge, Verdict};
use super::list::{CANARY, Form, HOLE, payloads};
use super::places::{Place, places};

/// An `ssh` that writes down how it was called, and answers every command as a machine of our sort would its name.
const SSH: &str = r#"#!/usr/bin/perl
open(my $file, '>>', 'RECORDED') or die;
syswrite($file, join(' ', map { 'x' . unpack('H*', $_) } @ARGV) . "\n");
print 'Linux ', 'ARCH', "\n";
"#;

/// Words of commands that no definition says.
const OWN: [&str; 17] = [
    EXECUTOR_VERB,
    "--state",
    "--root",
    "--",
    "uname",
    "-sm",
    "sha256sum",
    "mkdir",
    "-p",
    "-m",
    "0700",
    "dd",
    "bs=1M",
    "conv=fsync",
    "status=none",
    "rm",
    "-f",
];

/// A host that was accepted.
struct Case {
    name: String,
    host: String,
    /// Paths of it on the other side.
    paths: Vec<String>,
}

fn cases() -> (String, Vec<Case>) {
    let (mut text, mut cases) = (String::new(), Vec::new());
    let mut judge = Judge::new();
    let all = payloads();
    for (field, place) in places().into_iter().filter(|(field, _)| field.starts_with("host.")) {
        for (form, payload) in Form::BOTH.into_iter().flat_map(|form| all.iter().map(move |payload| (form, payload))) {
            if !matches!(judge.verdict(&place, form, payload), Ok((_, Verdict::Accepted(_)))) {
                continue;
            }
            let key = format!("k{}", cases.len());
            let Place { text: place, .. } = &place;
            let (definition, value) = super::list::filled(place, form, &payload.text);
            let value = value.replace("KEY", &key);
            let host = match field.as_str() {
                "host.*.connect" => value.trim_start_matches("ssh://deploy@").to_owned(),
                _ => format!("{key}.example.com"),
            };
            let paths = match field.as_str() {
                "host.*.state" => vec![value],
                "host.*.root" => vec!["/var/lib/trunkline".to_owned(), value],
                _ => vec!["/var/lib/trunkline".to_owned()],
            };
            // Its name is the table's.
            if field != "host.<key>" {
                text.push_str(&definition.replace("KEY", &key));
                cases.push(Case { name: format!("{field}, {}, {form:?}", payload.name), host, paths });
            }
        }
    }
    assert!(!text.contains(HOLE));
    (text, cases)
}

fn installation(folder: &Path, hosts: &str) -> Vec<Vec<String>> {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("clone/trunkline.toml", "format = 1\n");
    write("clone/fleet/hosts.toml", hosts);
    write("clone/environments/p.toml", "[file.f]\npath = \"/etc/x\"\ncontent = \"x\"\n");
    let recorded = folder.join("recorded");
    write("bin/ssh", &SSH.replace("RECORDED", recorded.to_str().unwrap()).replace("ARCH", std::env::consts::ARCH));
    std::fs::set_permissions(folder.join("bin/ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([folder.join("bin")].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(["plan", "--worktree"]).arg(folder.join("clone")).env_clear().env("PATH", path).env("HOME", folder);
    command.env("TRUNKLINE_DATA", folder.join("data")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let recorded = std::fs::read_to_string(&recorded).unwrap_or_else(|_| panic!("ssh was not called: {output:?}"));
    let text = |hex: &str| -> String {
        let hex = hex.trim_start_matches('x');
        let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect();
        String::from_utf8(bytes).unwrap()
    };
    recorded.lines().map(|line| line.split(' ').map(text).collect()).collect()
}

/// What a shell takes a command for.
fn words(command: &str) -> Vec<String> {
    let output = Command::new("sh").args(["-c", &format!("set -- {command}\nprintf '%s\\0' \"$@\"")]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

#[test]
fn what_a_host_is_reached_by_is_one_argument_here_and_one_word_there() {
    let (hosts, cases) = cases();
    assert!(cases.len() > 40, "only {} cases", cases.len());
    let folder = tempfile::tempdir().unwrap();
    let calls = installation(folder.path(), &hosts);
    let mut by_host: BTreeMap<&str, Vec<&[String]>> = BTreeMap::new();
    for call in &calls {
        let [before @ .., marks, host, _] = call.as_slice() else { panic!("{call:?}") };
        assert!(marks == "--" && !host.starts_with('-') && !before.contains(&"--".to_owned()), "{call:?}");
        by_host.entry(host).or_default().push(call);
    }
    let mut wrong = Vec::new();
    for Case { name, host, paths } in &cases {
        let Some(calls) = by_host.get(host.as_str()) else {
            wrong.push(format!("{name}: nobody called {host}"));
            continue;
        };
        let commands: Vec<Vec<String>> = calls.iter().map(|call| words(call.last().unwrap())).collect();
        let binary = |word: &str| paths.iter().any(|path| word.strip_prefix(path).is_some_and(|rest| rest.starts_with("/.bin")));
        let is_known = |word: &String| {
            OWN.contains(&word.as_str()) || paths.contains(word) || binary(word) || word.strip_prefix("of=").is_some_and(binary)
        };
        if let Some(unknown) = commands.iter().flatten().find(|word| !is_known(word)) {
            wrong.push(format!("{name}: {unknown:?} of {commands:?}"));
        }
        if let Some(path) = paths.iter().find(|path| !commands.iter().flatten().any(|word| word == *path)) {
            wrong.push(format!("{name}: {path:?} is in none of {commands:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!Path::new(CANARY).exists(), "a payload was run");
}
