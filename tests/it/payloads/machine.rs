//! What `check` takes, on a machine: each payload is exactly one argument, exactly the content, exactly the path.
//!
//! The machine is one of the fleet, with a real systemd; `docker` and the validate command are recorders of what they are given.
//! What nobody may touch is a file, a folder and a process; and nothing new is anywhere but where the definitions say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::judge::{Judge, Verdict};
use super::list::{CANARY, Form, Payload, payloads};
use super::places::{ENVIRONMENT, Place, places};
use crate::hosted::site::Site;

/// Writes down each argument in hexadecimal, and a variable.
const RECORD: &str = r#"#!/usr/bin/perl
my @words = map { 'x' . unpack('H*', $_) } @ARGV;
push @words, 'v' . unpack('H*', $ENV{V}) if exists $ENV{V};
open(my $file, '>>', '/root/recorded') or die;
syswrite($file, join(' ', @words) . "\n");
"#;

/// The same of Docker, with what it reads; and it knows what it was told to make.
const DOCKER: &str = r#"#!/usr/bin/perl
my ($noun, $verb) = @ARGV;
mkdir '/root/containers';
if ("$noun $verb" eq 'container create') {
    my %said;
    for (@ARGV) { $said{$1} = $2 if /^--([a-z]+)=(.*)$/s && ($1 ne 'label'); $said{made} = $1 if /^--label=trunkline\.definition=(.*)$/s; }
    my $read = join('', <STDIN>);
    open(my $file, '>>', '/root/made') or die;
    syswrite($file, join(' ', map { 'x' . unpack('H*', $_) } @ARGV, $read) . "\n");
    my %bytes = (k => 1024, m => 1048576, g => 1073741824);
    my $memory = ($said{memory} // '') =~ /^(\d+)([kmg])$/ ? $1 * $bytes{$2} : 0;
    my $cpus = sprintf('%d', ($said{cpus} // 0) * 1e9);
    open(my $made, '>', "/root/containers/$said{name}") or die;
    print $made qq({"Config":{"Image":"","Labels":{"trunkline.definition":"$said{made}"}},"HostConfig":{"Memory":$memory,"NanoCpus":$cpus,"RestartPolicy":{"Name":"$said{restart}"}},"State":{"Status":"created","ExitCode":0},"Id":"1");
} elsif ("$noun $verb" eq 'container rename') {
    rename "/root/containers/$ARGV[-2]", "/root/containers/$ARGV[-1]";
} elsif ("$noun $verb" eq 'container inspect') {
    my ($missing, $names) = (0, 0);
    for (@ARGV) {
        if (!$names) { $names = $_ eq '--'; next; }
        if (open(my $made, '<', "/root/containers/$_")) { print <$made>, qq(,"Name":"/$_"}\n); next; }
        $missing = 1;
        print STDERR "Error: No such container: $_\n";
    }
    exit $missing;
}
"#;

/// Stands for cloudflared: it says that it is ready, and waits.
const CLOUDFLARED: &str = r#"#!/usr/bin/perl
use Socket;
socket(my $notify, AF_UNIX, SOCK_DGRAM, 0);
send($notify, 'READY=1', 0, sockaddr_un($ENV{NOTIFY_SOCKET}));
sleep 1000000;
"#;

/// What a case comes to on the machine.
enum Lands {
    /// The file at the path has this content.
    File(String, Vec<u8>),
    Directory(String),
    /// The validate command was given exactly this before the candidate.
    Validated(Vec<String>),
    /// A container was made with this among its options.
    Option(String),
    /// A container was made with this as the argument of its program.
    Command(String),
    /// A container was made with this line in its environment.
    Variable(String),
    /// The unit ran with exactly this as its arguments, and this as the variable.
    Ran(Vec<String>, String),
    /// A text in the configuration of a connector.
    Configured(String),
}

struct Case {
    name: String,
    key: String,
    lands: Lands,
    /// Whether the machine itself may refuse it: a text of a unit as a whole is for systemd to judge.
    may_be_refused: bool,
}

fn lands(field: &str, key: &str, value: &str) -> Option<Lands> {
    let file = |path: String, text: String| Some(Lands::File(path, text.into_bytes()));
    let option = |name: &str| Some(Lands::Option(format!("--{name}={value}")));
    let text = value.to_owned();
    match field {
        "file.*.path" => file(text, "x".to_owned()),
        "file.*.content" => file(format!("/srv/{key}"), text),
        "file.*.vars.*" => file(format!("/srv/{key}"), format!("v = {value}\n")),
        "file.*.validate.[]" => Some(Lands::Validated(vec![key.to_owned(), text])),
        "directory.*.path" => Some(Lands::Directory(text)),
        "unit.*.content" => file(format!("/etc/systemd/system/{key}.service"), text),
        "unit.*.vars.*" => Some(Lands::Ran(vec![key.to_owned(), text.clone(), "end".to_owned()], text)),
        "tunnel_connector.*.ingress.[].hostname"
        | "tunnel_connector.*.ingress.[].path"
        | "tunnel_connector.*.ingress.[].service" => Some(Lands::Configured(text)),
        "container.*.command.[]" => Some(Lands::Command(text)),
        "container.*.entrypoint" => option("entrypoint"),
        "container.*.workdir" => option("workdir"),
        "container.*.network" => option("network"),
        "container.*.user" => option("user"),
        "container.*.devices.[]" => option("device"),
        "container.*.env.*" => Some(Lands::Variable(format!("V={value}"))),
        "container.*.env.<key>" => Some(Lands::Variable(format!("{value}=x"))),
        "container.*.labels.*" => Some(Lands::Option(format!("--label=x={value}"))),
        "container.*.labels.<key>" => Some(Lands::Option(format!("--label={value}=x"))),
        "container.*.mounts.[].bind" => Some(Lands::Option(format!("--mount=type=bind,source={value},target=/x"))),
        "container.*.mounts.[].target" => Some(Lands::Option(format!("--mount=type=volume,source=v,target={value}"))),
        "container.*.mounts.[].volume" => Some(Lands::Option(format!("--mount=type=volume,source={value},target=/x"))),
        _ => None,
    }
}

/// Payloads that are put into the configuration of a connector.
const CONFIGURED: [&str; 9] =
    ["double-quote", "double-quoted", "backslash", "hex-escape", "template-secret", "specifier", "variable", "comment", "colon"];

/// All that is accepted, as one environment.
fn cases() -> (String, Vec<Case>) {
    let (mut text, mut cases) = (String::new(), Vec::new());
    let mut paths = BTreeSet::new();
    let mut judge = Judge::new();
    // A place in quotes, which takes more than one outside of them.
    let quoted = "[unit.KEY]\ntemplate = \"f/quoted\"\nvars = { k = \"KEY\", v = \"x◆y\" }\n";
    let quoted = Place { file: ENVIRONMENT, text: quoted.to_owned() };
    let places = places().into_iter().chain([("unit.*.vars.*".to_owned(), quoted)]);
    let all = payloads();
    for (field, place) in places.filter(|(field, _)| lands(field, "", "").is_some()) {
        for (form, payload) in Form::BOTH.into_iter().flat_map(|form| all.iter().map(move |payload| (form, payload))) {
            let Payload { name, text: payload_text } = payload;
            // Each is a unit that runs: those that would mean something in JSON or YAML, or to systemd, are enough.
            // And of one path for two, the file has it: what is new on the machine is found by that.
            let is_left_out = field.starts_with("tunnel_connector.") && !CONFIGURED.contains(name)
                || field == "directory.*.path" && payload_text.starts_with("/etc/");
            if is_left_out || !matches!(judge.verdict(&place, form, payload), Ok((_, Verdict::Accepted(_)))) {
                continue;
            }
            let key = format!("k{}", cases.len());
            let (definition, value) = super::list::filled(&place.text, form, payload_text);
            let (definition, value) = (definition.replace("KEY", &key), value.replace("KEY", &key));
            if field.ends_with(".path") && !field.contains("ingress") && !paths.insert(value.clone()) {
                continue;
            }
            text.push_str(&definition);
            let lands = lands(&field, &key, &value).unwrap();
            cases.push(Case {
                name: format!("{field}, {name}, {form:?}"),
                key,
                lands,
                may_be_refused: field == "unit.*.content",
            });
        }
    }
    (text, cases)
}

struct Recorded {
    words: Vec<String>,
    variable: Option<String>,
}

/// What a recorder wrote, by its first word.
fn recorded(site: &Site, file: &str) -> Vec<Recorded> {
    let text = |hex: &str| -> String {
        let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect();
        String::from_utf8(bytes).unwrap()
    };
    let line = |line: &str| Recorded {
        words: line.split(' ').filter_map(|word| word.strip_prefix('x')).map(text).collect(),
        variable: line.split(' ').find_map(|word| word.strip_prefix('v')).map(text),
    };
    site.host.read(file).lines().map(line).collect()
}

#[test]
fn what_is_accepted_is_one_argument_or_the_content_on_a_machine() {
    let (text, cases) = cases();
    assert!(cases.len() > 200, "only {} cases", cases.len());
    let site = Site::new("");
    for (path, program) in
        [("/usr/local/bin/record", RECORD), ("/usr/local/sbin/docker", DOCKER), ("/usr/bin/cloudflared", CLOUDFLARED)]
    {
        site.host.write(path, program);
        site.host.run(&["chmod", "755", path]);
    }
    for (path, content) in super::places::FILES {
        site.write(path, content);
    }
    site.write("f/quoted", "[Service]\nType=oneshot\nExecStart=/usr/local/bin/record {{ vars.k }} \"{{ vars.v }}\" end\nEnvironment=\"V={{ vars.v }}\"\n");
    site.secret("s", "a secret");
    site.host.write("/root/daemon.toml", "[containers]\nallow = [\"devices\"]\n");
    site.host.run(&["mkdir", "-p", "/canary"]);
    site.host.write("/canary/a", "untouched");
    site.host.run(&["systemd-run", "--unit=canary", "sleep", "100000"]);
    let canary = site.unit("canary.service", "MainPID");
    site.define(&text);
    site.host.run(&["touch", "/root/before"]);
    let ran = site.trunkline_with(&["TRUNKLINE_CONFIG=/root/daemon.toml"], &["apply"]);
    let said = format!("{}\n{}", ran.out, ran.err);

    let units: Vec<String> =
        cases.iter().filter(|case| matches!(case.lands, Lands::Ran(..))).map(|case| format!("{}.service", case.key)).collect();
    assert!(units.len() > 20, "only {} units", units.len());
    let start: Vec<&str> = ["systemctl", "start"].into_iter().chain(units.iter().map(String::as_str)).collect();
    let started = site.host.try_run(&start);
    let started = String::from_utf8_lossy(&started.stderr).into_owned();

    let (ran, made) = (recorded(&site, "/root/recorded"), recorded(&site, "/root/made"));
    let by_key: BTreeMap<&str, &Recorded> = ran.iter().map(|one| (one.words[0].as_str(), one)).collect();
    let container =
        |key: &str| made.iter().find(|one| one.words.iter().any(|word| *word == format!("--name={key}.trunkline-next")));
    let mut wrong = String::new();
    for Case { name, key, lands, may_be_refused } in &cases {
        let found = match lands {
            Lands::File(path, bytes) => {
                site.host.try_run(&["cat", "--", path]).stdout == *bytes && {
                    !bytes.is_empty() || site.host.try_run(&["test", "-f", path]).status.success()
                }
            }
            Lands::Directory(path) => site.host.try_run(&["test", "-d", path]).status.success(),
            Lands::Validated(words) => by_key.get(key.as_str()).is_some_and(|one| {
                let [.., candidate] = one.words.as_slice() else { return false };
                let expected: Vec<String> = words.iter().map(|word| word.replace("{}", candidate)).collect();
                one.words[..one.words.len() - 1] == expected && candidate.starts_with("/srv/")
            }),
            Lands::Ran(words, variable) => {
                by_key.get(key.as_str()).is_some_and(|one| one.words == *words && one.variable.as_ref() == Some(variable))
            }
            Lands::Option(option) => container(key).is_some_and(|one| one.words.contains(option)),
            Lands::Command(argument) => container(key).is_some_and(|one| {
                let at = one.words.iter().position(|word| word == "registry.example.com/box:1");
                at.is_some_and(|at| one.words[at - 1] == "--" && one.words[at + 1] == *argument && one.words.len() == at + 3)
            }),
            Lands::Variable(line) => {
                container(key).is_some_and(|one| one.words.last().is_some_and(|read| *read == format!("{line}\n")))
            }
            Lands::Configured(text) => {
                let path = format!("/etc/trunkline/trunkline-connector-{key}/config.yml");
                let read = site.host.try_run(&["cat", &path]).stdout;
                let read: serde_json::Value = serde_json::from_slice(&read).unwrap_or_default();
                let rule = read["ingress"][0].as_object();
                rule.is_some_and(|rule| rule.values().any(|value| value == text))
            }
        };
        let was_refused = || *may_be_refused && said.contains(&format!(".{key}"));
        if !found && !was_refused() {
            let told = said.lines().filter(|line| line.contains(&format!(".{key}@")) || line.contains(&format!(".{key} ")));
            let got = by_key.get(key.as_str()).map(|one| &one.words);
            writeln!(wrong, "{name} ({key}): {got:?} {:.300}", told.collect::<Vec<_>>().join(" ")).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{started}\n{:.3000}", said);

    assert_eq!(site.host.read("/canary/a"), "untouched");
    assert_eq!(site.unit("canary.service", "MainPID"), canary);
    assert!(!site.host.try_run(&["test", "-e", CANARY]).status.success(), "a payload was run");
    // The one path outside of `/srv` that a definition names is that of a directory.
    const OTHERS: [&str; 11] = [
        "/proc/*",
        "/sys/*",
        "/srv/*",
        "/root/*",
        "/run/*",
        "/var/lib/trunkline/*",
        "/var/lib/systemd/*",
        "/var/log/*",
        "/var/cache/*",
        "/etc/trunkline/*",
        "/etc/systemd/system/*",
    ];
    let others = OTHERS.iter().flat_map(|path| ["-not", "-path", path]);
    let find: Vec<&str> = ["find", "/", "-xdev", "-newer", "/root/before", "-type", "f"].into_iter().chain(others).collect();
    assert_eq!(site.host.run(&find), "/etc/cron.d/x", "one that a definition names, and no other");
}
