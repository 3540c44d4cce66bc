//! Policy: what may run, judged by the rules that ship with the repository, by Git's own reading of trailers, and
//! through the ratchet.

mod guide;
mod ratchet;
mod rules;
mod shipped;
mod trailers;
mod world;
