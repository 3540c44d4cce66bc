//! The host executor: what is there of an environment on this host, and what was done about it.
//!
//! Goes in: one [`Request`] for a whole environment on a host. Comes out: one [`Answer`]. Both are data that can travel,
//! so that the same executor runs in the daemon's own process and at the other end of a channel ([`serve`]).
//!
//! What the executor knows of an environment stands in its manifest on the host, beside the files that were replaced.
//! An intent is in the manifest before a file is touched; what a killed executor left is settled by comparing the
//! intent with what is there.
//!
//! **Invariant:** every path is taken beneath the root, one component at a time, and no symbolic link is ever followed;
//! only regular files with one link are read, replaced or deleted. Nothing goes through a shell. No bytes of a file that
//! holds secrets, and no unkeyed digest of them, are in an answer, an error or a log line.

mod accounts;
mod apply;
mod beneath;
mod call;
mod candidate;
mod claims;
mod execute;
mod fault;
mod file;
mod frame;
mod manifest;
mod observe;
mod part;
mod path;
mod policy;
mod prepare;
mod protocol;
mod rounds;
mod serve;
mod settle;
mod state;
mod things;
mod validate;
mod write;

pub use execute::execute;
pub use fault::Fault;
pub use frame::{FrameError, HELLO, MAX_FRAME_BYTES, frame, is_hello, length};
pub use policy::Policy;
pub use protocol::{
    Answer, FileOrder, FileQuery, FileTask, FileWrite, Found, FoundContent, FoundFile, FoundThing, Order, OrderResult, Ordered,
    Payload, Query, Request, Sight, Task, ThingOrder, ThingQuery, VERSION, Wanted,
};
pub use serve::{EXECUTOR_VERB, serve};
