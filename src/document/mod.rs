//! TOML with places: parse, decode into written types, locate, and render a diagnostic with its line and a caret.
//!
//! Goes in: the text of files. Comes out: [`Node`]s that know where they stand, values of the written types, and
//! every [`Fault`] of a text, never the first only.
//!
//! **Invariant:** pure; no text makes it panic; depth, length and the number of faults are bounded. What is shown is
//! escaped: no control or direction-changing character of an input reaches a terminal.

mod decode;
mod fault;
mod locate;
mod node;
mod parse;
mod placed;
mod render;
mod suggest;

pub use decode::{Absent, Decoded, decode};
pub(crate) use fault::is_deceptive;
pub use fault::{Fault, shown};
pub use locate::{Lines, locate};
pub use node::{Entry, FileId, Node, Place, Table, Value, merge};
pub use parse::{Parsed, parse};
pub use placed::{Entries, Placed};
pub use render::render;
pub use suggest::{did_you_mean, nearest};
