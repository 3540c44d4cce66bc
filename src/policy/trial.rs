//! Runs the tests of rules: `test_…` rules in files `*_test.rego`, as `opa test` has them.

use serde::{Deserialize, Serialize};

use super::judge::ask;
use super::ratchet::RuleFiles;
use super::rules::{Source, diagnostic, is_test_file, limit, read, source};
use crate::model::Diagnostic;

/// One test that was run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trial {
    /// The file that holds it.
    pub path: String,
    /// Its package and name, `trunkline.files_test.test_open_to_all_is_denied`.
    pub rule: String,
    /// What came of it.
    pub outcome: TrialOutcome,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialOutcome {
    /// It is true.
    Passed,
    /// It is not.
    Failed,
    /// It could not be evaluated, with the place and the reason.
    Broken(String),
}

/// Runs every test of `files` against the rules of `files`, in the order of paths and then as they stand there.
///
/// # Errors
/// Every fault of every file, tests included; then nothing is run.
pub fn run_tests(files: &RuleFiles) -> Result<Vec<Trial>, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let sources: Vec<Source> =
        files.iter().filter(|(path, _)| path.ends_with(".rego")).filter_map(|f| source(f, &mut faults)).collect();
    let (mut engine, modules) = read(&sources, &mut faults);
    if faults.is_empty()
        && let Err(error) = engine.eval_bool_query("true".to_owned(), false)
    {
        faults.push(diagnostic(&error.to_string(), &sources));
    }
    if !faults.is_empty() {
        faults.sort();
        return Err(faults);
    }
    limit(&mut engine, 1);
    let mut trials = Vec::new();
    for module in modules.iter().filter(|module| is_test_file(module.path)) {
        for name in module.rules(&engine, |name| name.starts_with("test_")) {
            let rule = format!("{}.{name}", module.package);
            let outcome = match ask(&mut engine, &rule) {
                Ok(regorus::Value::Bool(true)) => TrialOutcome::Passed,
                Ok(_) => TrialOutcome::Failed,
                Err(fault) => TrialOutcome::Broken(fault),
            };
            trials.push(Trial { path: module.path.to_owned(), rule, outcome });
        }
    }
    Ok(trials)
}
