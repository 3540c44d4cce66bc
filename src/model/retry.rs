//! An error's kind is its retry policy: nobody matches message text.

use std::time::Duration;

/// What the one who met an error is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may pass by itself: again after a growing delay.
    Transient,
    /// The other side said when: not before this much time has gone by.
    After(Duration),
    /// Nothing will change until a person or a commit changes it.
    Stalled,
}
