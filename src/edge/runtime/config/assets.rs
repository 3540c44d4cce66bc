//! Static assets in the configuration: the runtime's own service over a folder of files.
//!
//! **Invariant:** the folder is named for its content, so that a version always has the files that it was made with.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::super::record::Version;
use super::quote;

/// The service of the assets of a version.
pub(super) fn service_name(worker: &str) -> String {
    format!("assets:{worker}")
}

/// Writes the service of a version's assets, if it has some.
pub(super) fn write_service(services: &mut String, data: &Path, worker: &str, version: &Version) {
    let Some(assets) = &version.assets else { return };
    let path = data.join("assets/sites").join(assets.site.to_string());
    let user_worker = match version.modules.is_empty() {
        // Which behaviour the assets have is chosen by these where there is no Worker to choose it.
        true => {
            let flags: Vec<String> = version.compatibility_flags.iter().map(|flag| quote(flag)).collect();
            let date = quote(&version.compatibility_date);
            format!("compatibilityDate = {date}, compatibilityFlags = [{}]", flags.join(", "))
        }
        false => format!("userWorker = {}", quote(worker)),
    };
    let _ = writeln!(
        services,
        "    (name = {}, assets = (path = {}, config = {}, {user_worker})),",
        quote(&service_name(worker)),
        quote(&path.to_string_lossy()),
        quote(&config(&assets.config))
    );
}

/// The runtime's words for what a client said of its assets.
fn config(given: &Value) -> String {
    let mut config = Map::new();
    for (ours, theirs) in [
        ("html_handling", "html_handling"),
        ("not_found_handling", "not_found_handling"),
        ("run_worker_first", "run_worker_first"),
        ("base_path", "base_path"),
        ("headers", "_headers"),
        ("redirects", "_redirects"),
    ] {
        if let Some(value) = given.get(theirs).filter(|value| !value.is_null()) {
            config.insert(ours.to_owned(), value.clone());
        }
    }
    Value::Object(config).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_is_said_in_the_runtimes_words() {
        let given = serde_json::json!({ "_headers": "/*", "run_worker_first": ["/api/*"], "html_handling": null });
        assert_eq!(config(&given), r#"{"headers":"/*","run_worker_first":["/api/*"]}"#);
    }
}
