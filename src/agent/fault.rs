//! Why the executor did not do something: data, since it travels.

use serde::{Deserialize, Serialize};

/// What is wrong. `Display` never repeats the cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What is wrong and where, lower case, no final period; no secret in it.
    pub message: String,
    /// The system's own words.
    pub cause: Option<String>,
    /// What the reader can do now.
    pub hint: Option<String>,
    /// It may pass by itself.
    pub transient: bool,
}

impl Fault {
    /// A fault that stays until a person or a commit changes something.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None, hint: None, transient: false }
    }

    /// A fault of the system: it may pass by itself, as a full disk does.
    pub fn system(message: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self { message: message.into(), cause: Some(cause.to_string()), hint: None, transient: true }
    }

    /// The same with what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Why an order was not carried out.
#[derive(Debug)]
pub(super) enum Stop {
    /// It was certainly not carried out.
    Refused(Fault),
    /// What is there is not what the plan saw.
    Conflict(String),
    /// It may have been carried out.
    Unknown(Fault),
}

impl Stop {
    /// A change failed with `fault`; `back` says what it was put back to, or why that is not known.
    pub(super) fn undone(fault: Fault, back: Result<&str, Fault>) -> Self {
        match back {
            Ok(was) => Self::Refused(Fault { message: format!("{}; {was}", fault.message), ..fault }),
            Err(second) => {
                let message = format!("{}, and what was before could not be put back: {second}", fault.message);
                Self::Unknown(Fault { message, ..fault })
            }
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}
