//! What a commit costs: calls of the API, writes, and files that are parsed.

mod everything;
mod many;
mod neighbours;
mod passes;
mod quiet;
mod size;
mod turns;
mod zones;
