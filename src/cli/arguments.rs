//! What can be said on the command line.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::agent::Agent;
use super::edge::Edge;
use super::executor::Executor;
use super::import::Import;
use super::rollback::{Abort, Pause, Promote};
use crate::model::{EnvironmentId, ResourceName, parse_interval};

/// GitOps for hybrid infrastructure: what is merged is what runs, on Cloudflare Workers and on the hosts behind them.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, propagate_version = true, after_help = AFTER)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const AFTER: &str = "\
Begin here:
  trunkline demo --once              see a commit become a running Worker, and a revert take it back
  trunkline check                    look for faults in a folder of definitions
  trunkline plan --worktree .        what these definitions would change
  trunkline run --remote URL         follow a repository

Exit status: 0 all is well; 1 an error; 2 plan found changes, or status an environment that is not ready; 64 wrong arguments.";

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The daemon's settings file [default: /etc/trunkline/daemon.toml, if it is there]
    #[arg(
        long,
        global = true,
        help_heading = "Installation",
        hide_env_values = true,
        env = "TRUNKLINE_CONFIG",
        value_name = "FILE"
    )]
    pub(super) config: Option<PathBuf>,
    /// Where the store and the daemon's repository are [default: /var/lib/trunkline for root, else ~/.local/state/trunkline]
    #[arg(
        long,
        global = true,
        help_heading = "Installation",
        hide_env_values = true,
        env = "TRUNKLINE_DATA",
        value_name = "DIR"
    )]
    pub(super) data: Option<PathBuf>,
    /// The repository that is followed: an https or ssh URL, or a path
    #[arg(
        long,
        global = true,
        help_heading = "Installation",
        hide_env_values = true,
        env = "TRUNKLINE_REMOTE",
        value_name = "URL"
    )]
    pub(super) remote: Option<String>,
    /// The branch that is followed [default: main]
    #[arg(
        long,
        global = true,
        help_heading = "Installation",
        hide_env_values = true,
        env = "TRUNKLINE_BRANCH",
        value_name = "NAME"
    )]
    pub(super) branch: Option<String>,
    /// The age identity that opens secrets [default: the systemd credential trunkline-identity, if there is one]
    #[arg(
        long,
        global = true,
        help_heading = "Installation",
        hide_env_values = true,
        env = "TRUNKLINE_IDENTITY",
        value_name = "FILE"
    )]
    pub(super) identity: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, help_heading = "Messages", value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(super) color: Colour,
    /// What to log on standard error, such as `info` or `trunkline=debug`
    #[arg(long, global = true, help_heading = "Messages", hide_env_values = true, env = "TRUNKLINE_LOG", value_name = "FILTER")]
    pub(super) log: Option<String>,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Global {
    pub(super) fn colour(&self) -> bool {
        match self.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stdout().is_terminal(),
        }
    }
}

/// The form of what a verb prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document, with a version.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Look for faults in a folder of definitions: all of them, each with its place
    Check(Check),
    /// Show what would change; exit status 0 nothing, 2 changes, 1 an error
    Plan(Plan),
    /// Fetch, and make what is merged what runs, once
    Apply(Apply),
    /// Follow the repository: the daemon
    Run(Run),
    /// Show where each environment stands; exit status 2 if one is not ready
    Status(Status),
    /// Show what was applied where and when
    History(History),
    /// Apply an earlier revision again, at once; what it takes back does not come back by itself
    Rollback(Rollback),
    /// Give a version that is rolling out its next share now
    Promote(Promote),
    /// Keep versions at the share that they have
    Pause(Pause),
    /// Give all requests back to the version before the one that is rolling out
    Abort(Abort),
    /// Lift what holds an environment: a quarantine, a pause, or a rewritten history of the branch
    Resume(Resume),
    /// Serve the self-hosted Workers plane: the Workers REST API in front of the real workerd
    Edge(Edge),
    /// Hosts that dial out: tokens, enrolment, revocation, and the agent itself
    Agent(Agent),
    /// Make the root of a build within its namespaces, and run it
    #[command(name = crate::build::INSIDE_VERB, hide = true)]
    BuildInside,
    /// Lead the process group of an edge's runtime, and end it when standard input ends
    #[command(name = crate::edge::LEAD_VERB, hide = true)]
    EdgeGuard,
    /// Answer the one request that comes in on standard input: the far end of a channel to a host
    #[command(name = crate::agent::EXECUTOR_VERB, hide = true)]
    Executor(Executor),
    /// Start everything on loopback from nothing but this binary
    Demo(Demo),
    /// Print the JSON Schema of the definitions, for editors
    Schema(Schema),
    /// Turn what exists elsewhere into definitions
    Import(Import),
    /// Make keys, and encrypt values into the definitions
    Secrets(Secrets),
    /// Print a completion script for a shell
    Completions(Completions),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline check                    the folder you are in
  trunkline check --output json      for an editor or a pull request
  trunkline check --build            run the builds as well, isolated as the daemon runs them")]
pub(super) struct Check {
    /// The folder of definitions
    #[arg(default_value = ".")]
    pub(super) folder: PathBuf,
    /// Run the builds of Workers; without it they are named, and not run
    #[arg(long)]
    pub(super) build: bool,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline plan --worktree .        what your changes would do, before you commit them
  trunkline plan production          what a daemon would do now, at the head of the branch
  trunkline plan --output json       one document, version 1: {version, revision, plans: [{plan, refused, warnings}]}

Exit status: 0 nothing to do; 2 changes; 1 an error, or a plan that a rule refuses.")]
pub(super) struct Plan {
    /// Only these environments
    pub(super) environments: Vec<EnvironmentId>,
    /// Plan for the definitions in this folder, committed or not, instead of the branch's head
    #[arg(long, value_name = "DIR")]
    pub(super) worktree: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline apply --remote /srv/config.git --identity ./identity
  trunkline apply staging            only this environment

Where a daemon works on the same data folder, it is asked to look now, and watched until it has.")]
pub(super) struct Apply {
    /// Only these environments
    pub(super) environments: Vec<EnvironmentId>,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline run --remote https://git.example.com/ads/config.git --identity /etc/trunkline/identity
  trunkline run --config /etc/trunkline/daemon.toml

On SIGTERM the change in hand is finished and recorded. Units for systemd are in the folder systemd/ of the source.")]
pub(super) struct Run {
    /// How often to ask the remote, such as 30s or 5m [default: 1m]
    #[arg(long, value_parser = parse_interval, value_name = "INTERVAL")]
    pub(super) poll: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline status
  trunkline status production --output json    {version, source, environments: [...]}")]
pub(super) struct Status {
    /// Only these environments
    pub(super) environments: Vec<EnvironmentId>,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline history production -n 5
  trunkline history production --generation 7  its plan and its operations
  git log --notes=trunkline                    the same record, in any clone (fetch refs/notes/trunkline)")]
pub(super) struct History {
    /// Only these environments
    pub(super) environments: Vec<EnvironmentId>,
    /// How many generations of each
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub(super) limit: usize,
    /// Show the plan and the operations of this generation
    #[arg(long, value_name = "N")]
    pub(super) generation: Option<u64>,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline rollback production                      the revision before what runs
  trunkline rollback production --to 1a2b3c4         a recorded revision; `trunkline history` lists them

The recorded bundle is applied at once, also while the Git host is away. What the abandoned revision introduced is
quarantined: it is held, by name, until a commit changes it or `trunkline resume` lifts it. The revert is committed on a
branch for people to merge. Auto-apply stays on.")]
pub(super) struct Rollback {
    /// Where
    pub(super) environment: EnvironmentId,
    /// The first digits of the revision to apply again [default: the one before what runs]
    #[arg(long, value_name = "REVISION")]
    pub(super) to: Option<String>,
    /// Who says so, for the record [default: $SUDO_USER, else $USER]
    #[arg(long, value_name = "NAME")]
    pub(super) owner: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Where
    pub(super) environment: EnvironmentId,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline demo --once              the whole story in half a minute, with evidence; exit status 3 without workerd
  trunkline demo                     keep it running, and try things yourself")]
pub(super) struct Demo {
    /// Tell the story, show the evidence of each step, and exit
    #[arg(long)]
    pub(super) once: bool,
    /// Do not install workerd into the cache; do without it if there is none
    #[arg(long)]
    pub(super) no_install: bool,
    /// Where the demo's files go [default: a new folder that is removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Write it to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Secrets {
    #[command(subcommand)]
    pub(super) verb: SecretsVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretsVerb {
    /// Make a new identity; its recipient, which may be shown to anyone, is printed
    Keygen {
        /// Where the identity goes: a new file, readable by its owner only
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Encrypt a value, read from standard input, into an environment's definitions
    Set {
        /// The environment that may use it
        environment: EnvironmentId,
        /// The secret's name
        name: ResourceName,
        /// The folder of definitions
        #[arg(long, default_value = ".", value_name = "DIR")]
        folder: PathBuf,
        /// Who may decrypt it; may be repeated [default: the recipient of --identity]
        #[arg(long, value_name = "age1…")]
        recipient: Vec<String>,
        /// Keep a final line break of the value
        #[arg(long)]
        keep_newline: bool,
    },
    /// List the secrets of the definitions, where they are used, and whether the identity opens them; never a value
    List {
        /// Only these environments
        environments: Vec<EnvironmentId>,
        /// The folder of definitions
        #[arg(long, default_value = ".", value_name = "DIR")]
        folder: PathBuf,
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}
