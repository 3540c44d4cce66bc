//! What others take for the same files and units.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::show;
use crate::line;
use crate::ours::{Times, UNIT};
use crate::target::{Ssh, Target};

/// What `benches/peers/install` put there.
pub(crate) struct Peers(Option<PathBuf>);

/// The same work as one of the others is told of it.
struct Work<'a> {
    targets: &'a [Target],
    /// The folder on each.
    place: String,
    files: usize,
    units: bool,
    folder: &'a Path,
}

/// How `ansible` runs its modules.
#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Pipelining,
    Mitogen,
}

impl Peers {
    pub(crate) fn find() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/.cache/peers");
        if folder.join("bin/pyinfra").is_file() {
            return Self(Some(folder));
        }
        show("The others are not here, and are not measured: `benches/peers/install`\n");
        Self(None)
    }

    /// Each of them, first, with nothing to do, and with one file changed; and how often ours fits into what it took with
    /// nothing to do.
    pub(crate) fn all(&self, targets: &[Target], files: usize, units: bool, own: &Times) {
        let Some(peers) = &self.0 else { return };
        for (name, strategy) in [
            ("pyinfra", None),
            ("ansible, pipelining", Some(Strategy::Pipelining)),
            ("ansible, mitogen", Some(Strategy::Mitogen)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let place = format!("/{}", name.replace(", ", "-"));
            let work = Work { targets, place, files, units, folder: folder.path() };
            work.sources();
            let ran = match strategy {
                None => work.pyinfra(peers),
                Some(strategy) => work.ansible(peers, strategy),
            };
            match ran {
                Ok((times, commands)) => {
                    let ratio = |at: usize| Some(times[at]?.as_secs_f64() / own[at]?.as_secs_f64());
                    let ratios: Vec<String> = (0..3).filter_map(ratio).map(|ratio| format!("{ratio:.1} x")).collect();
                    line(name, &times, &format!("{commands} commands in all; of ours {}", ratios.join(", ")));
                }
                Err(why) => show(&format!("{name:<34} {why}")),
            }
        }
    }
}

impl Work<'_> {
    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.folder.join(path), text).unwrap();
    }

    /// How each is reached, and the folder there.
    fn ways(&self) -> impl Iterator<Item = (&Ssh, String)> {
        self.targets.iter().filter_map(|target| Some((target.ssh.as_ref()?, target.real(&self.place))))
    }

    fn sources(&self) {
        std::fs::create_dir(self.folder.join("from")).unwrap();
        (0..self.files).for_each(|n| self.write(&format!("from/f{n}"), &format!("{n:0>1024}")));
        self.write("from/unit", UNIT);
    }

    fn pyinfra(&self, peers: &Path) -> Result<(Times, usize), String> {
        let hosts = self.ways().map(|(ssh, folder)| {
            format!(
                "    ({:?}, {{\"ssh_port\": {}, \"ssh_user\": {:?}, \"ssh_key\": {:?}, \"ssh_strict_host_key_checking\": \"off\", \"folder\": {folder:?}}}),\n",
                ssh.address, ssh.port, ssh.user, ssh.key
            )
        });
        self.write("inventory.py", &format!("hosts = [\n{}]\n", hosts.collect::<String>()));
        let mut deploy = format!(
            "from pyinfra import host\nfrom pyinfra.operations import files, systemd\n\
             for n in range({}):\n    files.put(name=f\"f{{n}}\", src=f\"from/f{{n}}\", dest=f\"{{host.data.folder}}/f{{n}}\")\n",
            self.files
        );
        if self.units {
            deploy.push_str(
                "for n in range(3):\n    put = files.put(name=f\"unit {n}\", src=\"from/unit\", dest=f\"/etc/systemd/system/p{n}.service\")\n    \
                 systemd.service(name=f\"p{n}\", service=f\"p{n}.service\", running=True, enabled=True, daemon_reload=put.will_change)\n",
            );
        }
        self.write("deploy.py", &deploy);
        self.thrice(&peers.join("bin/pyinfra"), &["--yes", "inventory.py", "deploy.py"])
    }

    fn ansible(&self, peers: &Path, strategy: Strategy) -> Result<(Times, usize), String> {
        let python = "/usr/bin/python3";
        let hosts = self.ways().map(|(ssh, folder)| {
            format!(
                "{} ansible_port={} ansible_user={} ansible_ssh_private_key_file={} folder={folder} ansible_python_interpreter={python}\n",
                ssh.address,
                ssh.port,
                ssh.user,
                ssh.key.display()
            )
        });
        self.write("inventory.ini", &hosts.collect::<String>());
        let mut settings = "[defaults]\nhost_key_checking = False\nforks = 19\nretry_files_enabled = False\n".to_owned();
        if strategy == Strategy::Mitogen {
            let plugins = format!("lib/{}/site-packages/ansible_mitogen/plugins/strategy", python_folder(peers));
            settings += &format!("strategy_plugins = {}\nstrategy = mitogen_linear\n", peers.join(plugins).display());
        }
        self.write("ansible.cfg", &format!("{settings}[ssh_connection]\npipelining = True\n"));
        let mut playbook = format!(
            "- hosts: all\n  gather_facts: false\n  tasks:\n    - file: {{ path: \"{{{{ folder }}}}\", state: directory }}\n    \
             - copy: {{ src: \"from/{{{{ item }}}}\", dest: \"{{{{ folder }}}}/{{{{ item }}}}\" }}\n      \
             loop: \"{{{{ range({}) | map('regex_replace', '^', 'f') | list }}}}\"\n",
            self.files
        );
        if self.units {
            playbook.push_str(
                "    - copy: { src: \"from/unit\", dest: \"/etc/systemd/system/a{{ item }}.service\" }\n      loop: [0, 1, 2]\n    \
                 - systemd_service: { name: \"a{{ item }}.service\", state: started, enabled: true, daemon_reload: true }\n      loop: [0, 1, 2]\n",
            );
        }
        self.write("site.yml", &playbook);
        self.thrice(&peers.join("bin/ansible-playbook"), &["-i", "inventory.ini", "site.yml"])
    }

    /// First, again, and again after one file was changed; how long each took, and the commands that they were.
    fn thrice(&self, program: &Path, arguments: &[&str]) -> Result<(Times, usize), String> {
        let mut times = [None; 3];
        let commands = || Ssh::counts_of(self.targets).0;
        let before = commands();
        for (step, time) in times.iter_mut().enumerate() {
            if step == 2 {
                self.write("from/f0", &format!("{:b>1024}", "then"));
            }
            *time = Some(self.once(program, arguments)?);
        }
        Ok((times, commands() - before))
    }

    fn once(&self, program: &Path, arguments: &[&str]) -> Result<Duration, String> {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder).env("HOME", self.folder).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let start = Instant::now();
        let status = command.status().map_err(|error| error.to_string())?;
        let time = start.elapsed();
        if status.success() {
            return Ok(time);
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        Err(format!("{status}: {}", last.join(" / ")))
    }
}

/// The folder of its packages, such as `python3.11`.
fn python_folder(peers: &Path) -> String {
    let entries = std::fs::read_dir(peers.join("lib")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.into_iter().find(|name| name.starts_with("python3")).unwrap_or_default()
}
