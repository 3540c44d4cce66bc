//! Analytics Engine: data points, appended to a file of their dataset, one JSON object a line.
//!
//! There is no query API here: the files are for tools that read JSON lines. A file is renamed when it is full, and one
//! older is kept.
//!
//! **Invariant:** a point that cannot be written is dropped and said so in the log; no Worker waits for it or fails.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, Call, blocking, make_folder, read, status};

/// Bytes of one point, on the wire.
const POINT_LIMIT: usize = 64 * 1024;
/// Bytes of one file.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// The folder of the datasets.
pub(super) struct Analytics {
    folder: PathBuf,
    one_at_a_time: Arc<Mutex<()>>,
}

impl Analytics {
    /// Datasets in a folder, which is made when the first point comes.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), one_at_a_time: Arc::default() }
    }

    /// One `writeDataPoint()`.
    pub(super) async fn answer(&self, call: Call) -> Response<Body> {
        let body = match read(call.request.into_body(), POINT_LIMIT).await {
            Ok(body) => body,
            Err(refused) => return status(refused),
        };
        let Some(line) = point(&body) else { return status(StatusCode::BAD_REQUEST) };
        let (folder, dataset, lock) = (self.folder.clone(), call.of, Arc::clone(&self.one_at_a_time));
        let written = blocking(move || {
            let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
            make_folder(&folder).map_err(io::Error::other)?;
            append(&folder.join(format!("{dataset}.jsonl")), &line)
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "A data point could not be written.");
        }
        status(StatusCode::OK)
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() >= FILE_LIMIT) {
        fs::rename(path, path.with_extension("1.jsonl"))?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.write_all(line.as_bytes())
}

/// A point as a line: the runtime's form has texts as arrays of bytes, and names every blob and double.
fn point(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let field = |name: &str, number: usize| event.get(format!("{name}{number}"));
    let text = |value: &Value| {
        let bytes: Option<Vec<u8>> = value.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
        Some(String::from_utf8_lossy(&bytes?).into_owned())
    };
    let blobs: Vec<Option<String>> = (1..=20).map_while(|number| field("blob", number)).map(text).collect();
    let mut doubles: Vec<f64> = (1..=20).filter_map(|number| field("double", number)?.as_f64()).collect();
    while doubles.last() == Some(&0.0) {
        doubles.pop();
    }
    let index = field("index", 1).and_then(text);
    let nanoseconds: Option<i64> = event["timestamp"].as_str().and_then(|text| text.parse().ok());
    let time = nanoseconds.map(|n| chrono::DateTime::from_timestamp_nanos(n).to_rfc3339());
    Some(format!("{}\n", json!({ "timestamp": time, "index": index, "blobs": blobs, "doubles": doubles })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_the_runtime_becomes_a_line() {
        let event = json!({ "index1": [105], "timestamp": "1795636537942000128", "double1": 1, "double2": 0, "blob1": [97] });
        let line: Value = serde_json::from_str(&point(event.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(line["index"], "i");
        assert_eq!((&line["blobs"], &line["doubles"]), (&json!(["a"]), &json!([1.0])));
        assert!(line["timestamp"].as_str().unwrap().starts_with("2026-11-25T"), "{line}");
    }
}
