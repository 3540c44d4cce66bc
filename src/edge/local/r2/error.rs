//! Why an operation on objects is refused, with R2's own codes.
//!
//! **Invariant:** what failed here and not at the caller is logged where it is made, and the caller is told no path.

use std::io;

use http::StatusCode;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::edge) enum R2Error {
    #[error("We encountered an internal error. Please try again.")]
    Internal,
    #[error("The specified bucket does not exist.")]
    NoSuchBucket,
    #[error("The specified key does not exist.")]
    NoSuchKey,
    #[error("Your proposed upload exceeds the maximum allowed object size.")]
    TooLarge,
    #[error("Your proposed upload is smaller than the minimum allowed object size.")]
    TooSmall,
    #[error("Your metadata headers exceed the maximum allowed metadata size.")]
    MetadataTooLarge,
    #[error("The specified object name is not valid.")]
    InvalidName,
    #[error("MaxKeys params must be positive integer <= 1000.")]
    InvalidMaxKeys,
    #[error("The specified multipart upload does not exist.")]
    NoSuchUpload,
    #[error("One or more of the specified parts could not be found.")]
    InvalidPart,
    #[error("{0}")]
    Invalid(String),
    #[error("At least one of the pre-conditions you specified did not hold.")]
    PreconditionFailed,
    #[error("The {0} checksum you specified did not match what we received.")]
    BadDigest(&'static str),
    #[error("The requested range is not satisfiable")]
    InvalidRange,
    #[error("There was a problem with the multipart upload.")]
    BadUpload,
}

impl R2Error {
    /// HTTP status and R2's code.
    pub(in crate::edge) fn codes(&self) -> (StatusCode, u32) {
        match self {
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, 10001),
            Self::NoSuchBucket => (StatusCode::NOT_FOUND, 10006),
            Self::NoSuchKey => (StatusCode::NOT_FOUND, 10007),
            Self::TooSmall => (StatusCode::BAD_REQUEST, 10011),
            Self::MetadataTooLarge => (StatusCode::BAD_REQUEST, 10012),
            Self::InvalidName => (StatusCode::BAD_REQUEST, 10020),
            Self::InvalidMaxKeys => (StatusCode::BAD_REQUEST, 10022),
            Self::NoSuchUpload => (StatusCode::BAD_REQUEST, 10024),
            Self::InvalidPart => (StatusCode::BAD_REQUEST, 10025),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, 10029),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, 10031),
            Self::BadDigest(_) => (StatusCode::BAD_REQUEST, 10037),
            Self::InvalidRange => (StatusCode::RANGE_NOT_SATISFIABLE, 10039),
            Self::BadUpload => (StatusCode::BAD_REQUEST, 10048),
            Self::TooLarge => (StatusCode::BAD_REQUEST, 100_100),
        }
    }
}

impl From<io::Error> for R2Error {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "An object's file cannot be used.");
        Self::Internal
    }
}

impl From<rusqlite::Error> for R2Error {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!(%error, "The index of objects cannot be used.");
        Self::Internal
    }
}
