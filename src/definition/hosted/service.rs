//! The text of a unit that we write ourselves: a program that listens to nobody it need not, held as if it were hostile.
//!
//! **Invariant:** what a definition says is one argument of the program: quoted, with nothing in it that systemd would put
//! something else for.

use crate::definition::scalar::{Refused, refuse};
use crate::document::shown;

/// What every such unit is held by. Source: systemd.exec(5); `systemd-analyze security` finds at most 1.5 of 10.
const HELD: &str = "\
DynamicUser=yes
UMask=0077
KeyringMode=private
LimitCORE=0
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateIPC=yes
RemoveIPC=yes
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";

/// A service.
pub(super) struct Service {
    /// For people.
    pub(super) description: String,
    /// The program and its arguments.
    pub(super) command: Vec<Word>,
    /// Name and file of each credential.
    pub(super) credentials: Vec<(&'static str, String)>,
    /// More lines of its section, of ours.
    pub(super) lines: Vec<String>,
}

/// A word of a command line.
pub(super) enum Word {
    /// Of ours: as it is.
    Ours(&'static str),
    /// Of a definition: one argument, whatever is in it.
    Theirs(String),
}

impl Service {
    /// Its text.
    pub(super) fn text(&self) -> String {
        let words: Vec<String> = self.command.iter().map(Word::quoted).collect();
        let credentials = self.credentials.iter().map(|(name, file)| format!("LoadCredential={name}:{file}\n"));
        let lines = self.lines.iter().map(|line| format!("{line}\n"));
        let more: String = credentials.chain(lines).collect();
        format!(
            "# Written by trunkline: what is changed here is put back.\n[Unit]\nDescription={}\nWants=network-online.target\n\
             After=network-online.target\n\n[Service]\nExecStart={}\nRestart=on-failure\nRestartSec=2\n{more}{HELD}\n[Install]\n\
             WantedBy=multi-user.target\n",
            self.description.replace('%', "%%"),
            words.join(" "),
        )
    }
}

impl Word {
    fn quoted(&self) -> String {
        match self {
            Self::Ours(word) => (*word).to_owned(),
            // Source: systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting".
            Self::Theirs(word) => {
                let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
                format!("\"{escaped}\"")
            }
        }
    }
}

/// The path of a program, which begins a command line.
pub(super) fn program(text: &str) -> Result<String, Refused> {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '+');
    let normal = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    if normal && text.chars().all(letters) && text.len() <= 1_000 {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is not the path of a program", shown(text)),
        "write an absolute path of letters, digits, `-`, `_`, `.` and `+`",
    )
}

/// An address and a port on which something listens.
pub(super) fn listen(text: &str) -> Result<String, Refused> {
    match text.parse::<core::net::SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address.to_string()),
        _ => refuse(format!("`{}` is no address with a port", shown(text)), "such as `127.0.0.1:8787`"),
    }
}

/// The name of a service of ours, which becomes part of the names of its unit and its folders.
pub(super) fn name(text: &str) -> Result<String, Refused> {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let bytes = text.as_bytes();
    if bytes.len() <= 63 && bytes.iter().copied().all(inner) && edge(bytes.first().copied()) && edge(bytes.last().copied()) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not a name", shown(text)), "names have at most 63 of a-z, 0-9 and `-`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_definition_says_is_one_argument() {
        let service = Service {
            description: "50%".into(),
            command: vec![Word::Ours("/usr/bin/x"), Word::Theirs("a \"b\" \\ $HOME ${X} %n; y".into())],
            credentials: vec![("token", "/etc/token".into())],
            lines: vec!["Type=notify".into()],
        };
        let text = service.text();
        assert!(text.contains("ExecStart=/usr/bin/x \"a \\\"b\\\" \\\\ $$HOME $${X} %%n; y\"\n"), "{text}");
        assert!(text.contains("Description=50%%\n") && text.contains("LoadCredential=token:/etc/token\nType=notify\n"));
    }

    #[test]
    fn programs_addresses_and_names() {
        for bad in ["x", "/a b", "/a\n", "/../x", "/a%n", "/a;b", "/a//b", "-/x", "/"] {
            assert!(program(bad).is_err(), "{bad:?}");
        }
        assert!(program("/usr/bin/cloudflared").is_ok());
        for bad in ["8787", "localhost:1", "127.0.0.1:0", "127.0.0.1", "[::1]:x"] {
            assert!(listen(bad).is_err(), "{bad}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a.b", "a b", "ü"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert!(listen("[::1]:8787").is_ok() && name("fra-1").is_ok());
    }
}
