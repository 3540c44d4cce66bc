//! The shared nouns: what every room talks about.
//!
//! Goes in: nothing. Comes out: types that can be compared, ordered and serialized, and the two traits
//! ([`Tree`], [`SecretResolver`]) behind which other rooms do input and output.
//!
//! **Invariant:** no I/O, no clock, no other room is imported here. Everything that is planned, rendered or
//! stored lives in `BTreeMap`s, so that the same input gives the same bytes.

mod address;
mod build;
mod desired;
mod diagnostic;
mod digest;
pub mod dns;
mod inputs;
mod interval;
mod kind;
mod marker;
mod memory;
mod name;
mod observed;
mod retry;
mod revision;
mod secret;
mod spec;
mod target;
mod tree;
mod value;

pub use address::{Address, EnvironmentId, InstanceKey, ParseAddressError};
pub use build::{BuildInput, BuildRequest, Recipe};
pub use desired::{Batch, Bundle, Contents, Desired, DesiredState, DriftMode, Origin, SealedSecret, Sync};
pub use diagnostic::{Diagnostic, Related, Severity};
pub use digest::{Content, Digest, ParseDigestError, canonical_digest};
pub use inputs::{Inputs, Recorder};
pub use interval::{IntervalError, parse_interval};
pub use kind::{Bound, INTERRUPTED, Identity, Kind, Renaming, SUPERSEDED};
pub use marker::Marker;
pub use memory::MemoryTree;
pub use name::{EnvironmentName, NameError, ResourceName, TargetName, TenantName};
pub use observed::{Evidence, Observed, ObservedState, Present};
pub use retry::Retry;
pub use revision::{ParseRevisionError, Revision};
pub use secret::{Secret, SecretError, SecretResolver, SecretScope};
pub use spec::{
    Assets, Binding, DANGERS, EDGE_PROGRAM, FileSpec, HostedSpec, Migration, Module, ModuleType, PlatformSpec, Probe, Purge,
    PurgeMode, RESTART_ON, Rollout, Route, Spec, TRAFFIC, WorkerSpec, placeholder, token_label, traffic, with_traffic,
};
pub use target::{ApiToken, CloudflareTarget, Connect, EdgeTarget, HostTarget, Offline, SshTarget, Target, TargetKind};
pub use tree::{Entry, EntryMode, Tree, TreeError};
pub use value::{Pending, Properties, SecretMark, TOKEN, Value};
