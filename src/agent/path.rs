//! A path on a host, checked: absolute, normalized, allowed.

use super::{Fault, Policy};

/// A checked path: at least one component, none of them `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPath {
    components: Vec<String>,
}

impl HostPath {
    /// Checks `text` against the grammar and against what `policy` allows.
    pub(super) fn parse(text: &str, policy: &Policy) -> Result<Self, Fault> {
        let path = Self::grammar(text)?;
        let shown = path.to_string();
        if !policy.allowed.iter().any(|folder| is_in(&shown, folder)) {
            return Err(Fault::new(format!("`{shown}` is outside the folders that this host allows")));
        }
        let state = policy.state_path();
        let forbidden = ["/proc", "/sys", "/dev", state.as_str()];
        if let Some(folder) = forbidden.into_iter().find(|folder| is_in(&shown, folder)) {
            return Err(Fault::new(format!("`{shown}` is in `{folder}`, where no file is managed")));
        }
        Ok(path)
    }

    /// Checks the grammar only.
    pub(super) fn grammar(text: &str) -> Result<Self, Fault> {
        let refused = |what: &str| {
            let shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
            Fault::new(format!("the path `{shown}` {what}"))
        };
        let rest = text.strip_prefix('/').ok_or_else(|| refused("is not absolute"))?;
        if text.len() > 4000 {
            return Err(refused("has more than 4,000 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(refused("holds a control character"));
        }
        let components: Vec<String> = rest.split('/').map(str::to_owned).collect();
        if components.iter().any(|c| c.is_empty() || c == "." || c == ".." || c.len() > 255) {
            return Err(refused("has a component that is empty, `.`, `..` or longer than 255 bytes"));
        }
        Ok(Self { components })
    }

    /// The last component.
    pub(super) fn name(&self) -> &str {
        self.components.last().map_or("", String::as_str)
    }

    /// All but the last component.
    pub(super) fn folders(&self) -> &[String] {
        &self.components[..self.components.len() - 1]
    }

    /// All components.
    pub(super) fn components(&self) -> &[String] {
        &self.components
    }

    /// The name of the candidate that an operation writes beside the file. No name is longer than 255 bytes.
    pub(super) fn candidate(&self, operation: &str) -> String {
        let mut end = self.name().len().min(150);
        while !self.name().is_char_boundary(end) {
            end -= 1;
        }
        format!(".{}.{operation}.trunkline", &self.name()[..end])
    }
}

impl std::fmt::Display for HostPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.components.iter().try_for_each(|component| write!(f, "/{component}"))
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normalized_absolute_paths_are_taken() {
        let policy = Policy::local(None, "/var/lib/trunkline".into());
        for bad in [
            "",
            "/",
            "etc/x",
            "/etc/../x",
            "/etc/./x",
            "/etc//x",
            "/etc/x/",
            "/etc/\n",
            "/etc/\0",
            "/proc/1/mem",
            "/sys/x",
            "/dev/sda",
            "/var/lib/trunkline/x",
            "/var/lib/trunkline",
            "../../etc/cron.d/x",
        ] {
            assert!(HostPath::parse(bad, &policy).is_err(), "{bad:?} was accepted");
        }
        for good in ["/etc/x", "/procession/x", "/etc/..x", "/var/lib/trunkline-other/x", "/etc/$(id)", "/etc/ü"] {
            assert_eq!(HostPath::parse(good, &policy).unwrap().to_string(), good);
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let mut policy = Policy::local(None, "/var/lib/trunkline".into());
        policy.allowed = vec!["/etc/app".into()];
        assert!(HostPath::parse("/etc/app/x", &policy).is_ok());
        assert!(HostPath::parse("/etc/application", &policy).is_err());
        policy.allowed.clear();
        assert!(HostPath::parse("/etc/app/x", &policy).is_err());
    }

    #[test]
    fn a_candidate_has_a_name_that_a_file_system_takes() {
        let path = HostPath::grammar(&format!("/{}", "ü".repeat(127))).unwrap();
        assert!(path.candidate(&"0".repeat(36)).len() <= 255);
    }
}
