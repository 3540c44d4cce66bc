//! What a host costs: `cargo bench --bench hosts`, with a number for that many files.
//!
//! So many files of 1 KiB on one host, by the program as people run it, from the fetch to the record: a first apply, one with
//! nothing to do, one with a single change; on the daemon's own machine, and over SSH to a real sshd on loopback. Commands
//! are those that sshd saw, and connections likewise: a pass with nothing to do is one command, and one that changes
//! something two, whatever the number of files; the command fails where they are more. The first apply over SSH also puts
//! the executor there.
//!
//! Beside it, where they are on `PATH`, what pyinfra and ansible take for a tenth of the files, first and with nothing to do.

#[path = "stage/figures.rs"]
#[allow(dead_code, reason = "other benches use more of it")]
mod figures;
#[path = "../tests/it/fleet/site.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod site;
#[path = "../tests/it/fleet/sshd.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod sshd;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use figures::show;
use site::Site;
use sshd::Sshd;

const FILES: usize = 1_000;

fn main() {
    let count = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(FILES);
    let sshd = Sshd::start();
    show(&format!("{count} files of 1 KiB      first apply    no change   one change   commands   connections"));
    let local = tempfile::tempdir().unwrap();
    let host = format!("connect = \"local\"\nroot = {:?}\n", local.path());
    ours("local", &host, local.path(), &sshd, count);
    let remote = tempfile::tempdir().unwrap();
    let host = format!(
        "connect = \"ssh://{}@127.0.0.1:{}\"\nhost_key = \"{}\"\nstate = {:?}\nroot = {:?}\n",
        sshd.user(),
        sshd.port,
        sshd.public("host"),
        sshd.state(),
        remote.path()
    );
    let commands = ours("ssh", &host, remote.path(), &sshd, count);
    let few = (count / 10).max(1);
    show(&format!("\nothers, {few} files of 1 KiB"));
    pyinfra(&sshd, few);
    ansible(&sshd, few);
    assert_eq!(commands[1..], [1, 2], "a pass is one command, and an apply one more");
}

/// Applies, applies again, changes one file; the commands that each took.
fn ours(way: &str, host: &str, root: &Path, sshd: &Sshd, count: usize) -> [usize; 3] {
    let site = Site::new(&sshd.user_key());
    site.write("fleet/host.toml", &format!("[host.web]\n{host}"));
    write(&site, count);
    site.commit("All files");
    let mut times = [Duration::ZERO; 3];
    let (mut commands, connections) = ([0; 3], sshd.connections());
    for step in 0..3 {
        if step == 2 {
            site.write("files/f0", &format!("{:1>1024}", "then"));
            site.commit("One of them");
        }
        let (start, before) = (Instant::now(), sshd.commands());
        site.apply();
        times[step] = start.elapsed();
        commands[step] = sshd.commands() - before;
    }
    assert_eq!(std::fs::read_dir(root.join("srv")).unwrap().count(), count);
    let shown: Vec<String> = times.iter().map(|time| format!("{:>9.2} s", time.as_secs_f64())).collect();
    let connections = sshd.connections() - connections;
    show(&format!("trunkline, {way:<12} {}   {commands:?}   {connections}", shown.join("  ")));
    commands
}

/// A file of the repository for each, and what says where they go.
fn write(site: &Site, count: usize) {
    let text = (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "[file.f{n}]\npath = \"/srv/f{n}\"\nsource = \"files/f{n}\"").unwrap();
        site.write(&format!("files/f{n}"), &format!("{n:0>1024}"));
        text
    });
    site.write("environments/production.toml", &text);
}

fn sources(folder: &Path, count: usize) {
    std::fs::create_dir(folder.join("from")).unwrap();
    for n in 0..count {
        std::fs::write(folder.join(format!("from/f{n}")), format!("{n:0>1024}")).unwrap();
    }
}

fn pyinfra(sshd: &Sshd, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), count);
    let inventory = format!(
        "hosts = [(\"127.0.0.1\", {{\"ssh_port\": {}, \"ssh_user\": \"{}\", \"ssh_key\": {:?}, \"ssh_strict_host_key_checking\": \"off\"}})]\n",
        sshd.port,
        sshd.user(),
        sshd.user_key()
    );
    std::fs::write(folder.path().join("inventory.py"), inventory).unwrap();
    let deploy = format!(
        "from pyinfra.operations import files\nfor n in range({count}):\n    files.put(name=f\"f{{n}}\", src=f\"from/f{{n}}\", dest=f\"{}/to/f{{n}}\")\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("deploy.py"), deploy).unwrap();
    twice("pyinfra", &["--yes", "inventory.py", "deploy.py"], folder.path(), sshd);
}

fn ansible(sshd: &Sshd, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), count);
    std::fs::create_dir(folder.path().join("to")).unwrap();
    let inventory = format!(
        "web ansible_host=127.0.0.1 ansible_port={} ansible_user={} ansible_ssh_private_key_file={}\n",
        sshd.port,
        sshd.user(),
        sshd.user_key().display()
    );
    std::fs::write(folder.path().join("inventory.ini"), inventory).unwrap();
    let playbook = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {{ src: \"from/{{{{ item }}}}\", dest: \"{}/to/{{{{ item }}}}\" }}\n      loop: \"{{{{ range({count}) | map('regex_replace', '^', 'f') | list }}}}\"\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("site.yml"), playbook).unwrap();
    twice("ansible-playbook", &["-i", "inventory.ini", "site.yml"], folder.path(), sshd);
}

fn twice(program: &str, arguments: &[&str], folder: &Path, sshd: &Sshd) {
    let mut times = Vec::new();
    let before = sshd.commands();
    for _ in 0..2 {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env("HOME", folder).env("ANSIBLE_HOST_KEY_CHECKING", "False");
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let start = Instant::now();
        match command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status() {
            Ok(status) if status.success() => times.push(format!("{:>9.2} s", start.elapsed().as_secs_f64())),
            Ok(status) => {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                return show(&format!("{program}: {status}: {}", last.join(" / ")));
            }
            Err(error) => return show(&format!("{program}: not here ({error}); `pip install pyinfra ansible-core`")),
        }
    }
    show(&format!("{program:<22} {}   {} commands in all", times.join("  "), sshd.commands() - before));
}
