//! Builds: a project's own bundler makes the modules of a Worker, from nothing but the files that the commit names.
//!
//! Goes in: a [`BuildRequest`] of the definitions. Comes out: modules with their bytes, which take the place of `modules`
//! before there is a plan. What was built once is kept by the digest of request and tools, so that two plans of one
//! revision see the same bytes.
//!
//! A build is code of the repository, and is run as if it were hostile: in namespaces of its own (user, network, mounts,
//! processes), on a root that holds the system's programs for reading, the tools that the daemon's settings name, and a
//! bounded folder in memory. `unshare` of util-linux makes the namespaces; this program, started again under the verb
//! [`INSIDE_VERB`], makes the root within them, drops every capability and runs the command.
//!
//! **Invariant:** nothing is built where the isolation cannot be had. No build sees the network, the daemon's environment,
//! its data folder, its identity, or a file of the machine that is not named here; no secret is ever part of a request.

mod cache;
mod collect;
mod frame;
mod inside;
mod modules;
mod root;
mod run;
mod tool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{BuildRequest, ResourceName};

pub use inside::{INSIDE_VERB, inside};
pub use modules::{Built, built};

/// With what, and within which bounds.
#[derive(Clone)]
pub struct Options {
    /// This program, which is started again inside of the namespaces.
    pub program: PathBuf,
    /// Folders of tools: shown to a build for reading, and searched for its programs before those of the system.
    pub tools: Vec<PathBuf>,
    /// Where what was built is kept.
    pub cache: PathBuf,
    /// How long one build may take.
    pub timeout: Duration,
    /// Asked while a build runs: whether the process is to end.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What all builds may take of the machine.
mod limit {
    /// The folder of a build in memory, inputs and outputs together, in bytes.
    pub(super) const MEMORY_FOLDER: u64 = 512 << 20;
    /// One file that it writes, in bytes.
    pub(super) const FILE: u64 = 256 << 20;
    /// Files and folders that may be there.
    pub(super) const INODES: u64 = 100_000;
    /// Memory of one of its processes, in bytes.
    pub(super) const DATA: u64 = 4 << 30;
    /// Processes and threads at a time.
    pub(super) const PROCESSES: u64 = 512;
    /// Open files of one process.
    pub(super) const OPEN_FILES: u64 = 4_096;
    /// Modules that it leaves.
    pub(super) const MODULES: usize = 1_000;
    /// Their bytes together.
    pub(super) const MODULE_BYTES: u64 = 10 << 20;
    /// What is kept of what it prints, in bytes: the end.
    pub(super) const PRINTED: usize = 8 << 10;
    /// Builds that are kept, and their bytes together.
    pub(super) const KEPT: usize = 200;
    pub(super) const KEPT_BYTES: u64 = 256 << 20;
}

/// Why there are no modules.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The command ended otherwise than with 0.
    #[error("the build of `worker.{worker}` failed: {ended}{}", after(.printed))]
    Failed {
        /// Whose build.
        worker: ResourceName,
        /// How it ended.
        ended: String,
        /// The last lines that it printed.
        printed: String,
    },
    /// What it left cannot be the modules of a Worker.
    #[error("the build of `worker.{worker}` left what cannot be used: {what}")]
    Output {
        /// Whose build.
        worker: ResourceName,
        /// What is wrong with it.
        what: String,
    },
    /// A program is not there.
    #[error("the build of `worker.{worker}` needs `{program}`, which is not on this machine")]
    NoTool {
        /// Whose build.
        worker: ResourceName,
        /// The program.
        program: String,
    },
    /// The isolation cannot be had.
    #[error("the build of `worker.{worker}` is not run, since it cannot be isolated here: {reason}")]
    NoIsolation {
        /// Whose build.
        worker: ResourceName,
        /// What the system said.
        reason: String,
    },
    /// The process is to end.
    #[error("the build of `worker.{worker}` was given up, since the process ends")]
    Stopped {
        /// Whose build.
        worker: ResourceName,
    },
    /// The machine is at fault.
    #[error("the build of `worker.{worker}` cannot be run")]
    System {
        /// Whose build.
        worker: ResourceName,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

fn after(printed: &str) -> String {
    if printed.is_empty() { String::new() } else { format!("\n{printed}") }
}

impl BuildError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTool { program, .. } => Some(format!(
                "install `{program}` below /usr, or name the folder that holds it as `tools = [\"/opt/…\"]` under [build] in the daemon's settings"
            )),
            Self::NoIsolation { .. } => Some(
                "builds need unshare (util-linux) and user namespaces: `sysctl user.max_user_namespaces`, on Ubuntu also \
                 `kernel.apparmor_restrict_unprivileged_userns=0`; under systemd the drop-in builds.conf"
                    .to_owned(),
            ),
            Self::Failed { .. } => Some("run it by hand: a build sees only its `inputs`, and no network".to_owned()),
            Self::Output { .. } => None,
            Self::Stopped { .. } | Self::System { .. } => None,
        }
    }

    /// Whether the same build may succeed later without a new commit.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::System { .. })
    }
}

/// Builds one Worker, or takes what was built before from the same request by the same tools.
///
/// Blocks; call it on a thread that may.
///
/// # Errors
/// [`BuildError`]
pub fn build(options: &Options, worker: &ResourceName, request: &BuildRequest) -> Result<Built, BuildError> {
    let job = tool::job(options, worker, request)?;
    let key = job.key(request);
    if let Some(files) = cache::find(&options.cache, &key) {
        return modules::of(worker, request, files);
    }
    let files = run::run(options, worker, &job, request)?;
    let built = modules::of(worker, request, files.clone())?;
    // What cannot be kept is built again.
    if let Err(error) = cache::keep(&options.cache, &key, &files) {
        tracing::warn!(folder = %options.cache.display(), %error, "A build could not be kept.");
    }
    Ok(built)
}
