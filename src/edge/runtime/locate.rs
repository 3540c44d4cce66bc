//! Where the Workers runtime is on this machine.
//!
//! Goes in: a path that someone named, the environment. Comes out: a native `workerd`, or what to do to get one.
//!
//! **Invariant:** nothing is downloaded here.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::EdgeError;

/// The `workerd` to run: the one named, that of `TRUNKLINE_WORKERD`, or the first on `PATH`. npm's `workerd` may be a
/// JavaScript launcher; the native program beside it is taken then.
///
/// # Errors
/// [`EdgeError::WorkerdMissing`] where there is none; its hint says how to install it.
pub fn find_workerd(explicit: Option<&Path>) -> Result<PathBuf, EdgeError> {
    let named =
        explicit.map(Path::to_owned).or_else(|| env::var_os("TRUNKLINE_WORKERD").filter(|v| !v.is_empty()).map(Into::into));
    if let Some(path) = named {
        return native(&path).ok_or(EdgeError::WorkerdUnusable(path));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter_map(|folder| native(&folder.join("workerd"))).next().ok_or(EdgeError::WorkerdMissing)
}

/// The native program at a path, or near it where the path is npm's launcher.
fn native(path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    if is_elf(&real) {
        return Some(real);
    }
    // npm: node_modules/workerd/bin/workerd is a script; the program is in a package for the platform.
    let package = match env::consts::ARCH {
        "aarch64" => "@cloudflare/workerd-linux-arm64",
        _ => "@cloudflare/workerd-linux-64",
    };
    real.ancestors().find_map(|folder| {
        let program = folder.join(package).join("bin/workerd");
        let nested = folder.join("node_modules").join(package).join("bin/workerd");
        [program, nested].into_iter().find(|program| is_elf(program))
    })
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// What the program says its version is, such as `workerd 2026-11-17`.
pub(in crate::edge) fn version_of(workerd: &Path) -> Result<String, EdgeError> {
    let output = Command::new(workerd).arg("--version").env_clear().stdin(Stdio::null()).output();
    let output = output.map_err(|source| EdgeError::Spawn { program: workerd.to_owned(), source })?;
    let said = String::from_utf8_lossy(&output.stdout);
    // Another program that happens to be named would be started again and again, and never serve.
    match said.lines().next().map(str::trim) {
        Some(version) if output.status.success() && version.starts_with("workerd ") => Ok(version.to_owned()),
        _ => Err(EdgeError::WorkerdUnusable(workerd.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_launcher_of_npm_leads_to_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let launcher = folder.path().join("node_modules/workerd/bin/workerd");
        let program = folder.path().join("node_modules/@cloudflare/workerd-linux-64/bin/workerd");
        let program = if cfg!(target_arch = "aarch64") {
            folder.path().join("node_modules/@cloudflare/workerd-linux-arm64/bin/workerd")
        } else {
            program
        };
        for path in [&launcher, &program] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&launcher, "#!/usr/bin/env node\n").unwrap();
        fs::write(&program, b"\x7fELF....").unwrap();
        let bin = folder.path().join("node_modules/.bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink("../workerd/bin/workerd", bin.join("workerd")).unwrap();
        assert_eq!(find_workerd(Some(&bin.join("workerd"))).unwrap(), program.canonicalize().unwrap());
    }

    #[test]
    fn a_program_that_is_no_workerd_is_told_by_what_it_says_of_itself() {
        let other = Path::new("/bin/true").canonicalize().unwrap();
        assert!(matches!(version_of(&other), Err(EdgeError::WorkerdUnusable(path)) if path == other));
    }

    #[test]
    fn a_named_path_that_is_no_program_is_an_error_and_nothing_else_is_tried() {
        let error = find_workerd(Some(Path::new("/nonexistent/workerd"))).unwrap_err();
        assert!(matches!(error, EdgeError::WorkerdUnusable(_)));
    }
}
