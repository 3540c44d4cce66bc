//! What a commit costs: calls of the API, writes, and files that are parsed.

mod many;
mod neighbours;
mod passes;
mod quiet;
mod size;
mod turns;
