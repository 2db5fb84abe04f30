//! Settings checked against the JSON Schema that a policy declares.

use serde_json::Value;

/// One thing that is wrong with a policy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// RFC 6901 JSON pointer into the settings; empty: the settings as a whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The most problems that are reported at once.
const PROBLEMS_MAX: usize = 32;

/// Checks settings against a schema. An empty schema takes none.
///
/// # Errors
/// Every problem, up to 32; or, as the inner error, what is wrong with the schema itself.
pub(super) fn check(schema: &str, settings: &Value) -> Result<Vec<SettingProblem>, String> {
    if schema.is_empty() {
        let none = settings.as_object().is_some_and(serde_json::Map::is_empty);
        let problem = SettingProblem {
            pointer: String::new(),
            message: "this policy takes no settings".to_owned(),
        };
        return Ok(if none { Vec::new() } else { vec![problem] });
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let validator = jsonschema::draft202012::new(&schema).map_err(|error| error.to_string())?;
    let problem = |error: jsonschema::ValidationError<'_>| SettingProblem {
        pointer: error.instance_path().to_string(),
        message: error.to_string(),
    };
    Ok(validator
        .iter_errors(settings)
        .take(PROBLEMS_MAX)
        .map(problem)
        .collect())
}
