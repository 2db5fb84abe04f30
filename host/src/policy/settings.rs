//! Settings checked against the JSON Schema that a policy declares.

use jsonschema::PatternOptions;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

/// One thing that is wrong with a policy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// RFC 6901 JSON pointer into the settings; empty: the settings as a whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The longest schema, in bytes.
const SCHEMA_MAX_BYTES: usize = 64 << 10;
/// The largest compiled pattern of a schema, in bytes. The matcher takes linear time.
const PATTERN_MAX_BYTES: usize = 1 << 20;
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
    if schema.len() > SCHEMA_MAX_BYTES {
        return Err(format!("it is longer than {SCHEMA_MAX_BYTES} bytes"));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    if has_reference(&schema) {
        return Err("it uses a reference (`$ref`); write out what it refers to".to_owned());
    }
    let validator = jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX_BYTES))
        .build(&schema)
        .map_err(|error| error.to_string())?;
    let problems = |error: jsonschema::ValidationError<'_>| match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| unknown(&schema, &error.instance_path().to_string(), name))
            .collect(),
        _ => vec![SettingProblem {
            pointer: error.instance_path().to_string(),
            message: error.to_string(),
        }],
    };
    Ok(validator
        .iter_errors(settings)
        .flat_map(problems)
        .take(PROBLEMS_MAX)
        .collect())
}

/// A setting that the policy does not have, at its own place, with the one that was probably meant.
fn unknown(schema: &Value, parent: &str, name: &str) -> SettingProblem {
    let known = schema.pointer("/properties").and_then(Value::as_object);
    let known = known
        .filter(|_| parent.is_empty())
        .into_iter()
        .flat_map(|known| known.keys());
    let nearest = known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, _)| *distance <= NEAR_MAX);
    let hint = nearest.map_or_else(String::new, |(_, known)| {
        format!("; did you mean `{known}`?")
    });
    let name = name.replace('~', "~0").replace('/', "~1");
    SettingProblem {
        pointer: format!("{parent}/{name}"),
        message: format!("this policy has no such setting{hint}"),
    }
}

/// How many changes of a character make another name out of a slip.
const NEAR_MAX: usize = 3;

/// Whether a schema refers to another or to a part of itself. A schema comes from the policy and is
/// checked outside its budgets; without references the work is bounded by its length, with them a
/// few lines can stand for more than any machine can check.
fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| REFERENCES.contains(&name.as_str()) || has_reference(value)),
        Value::Array(items) => items.iter().any(has_reference),
        _ => false,
    }
}

/// The keywords that refer.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(schema: &str, settings: &str) -> Result<Vec<String>, String> {
        let problems = check(schema, &serde_json::from_str(settings).unwrap())?;
        Ok(problems
            .into_iter()
            .map(|problem| problem.pointer)
            .collect())
    }

    #[test]
    fn names_the_place_of_every_problem() {
        let schema = r#"{"properties":{"a":{"type":"integer"},"b":{"items":{"minimum":1}}}}"#;
        assert_eq!(check_one(schema, r#"{"a":1,"b":[1]}"#), Ok(vec![]));
        assert_eq!(
            check_one(schema, r#"{"a":"x","b":[1,0]}"#),
            Ok(vec!["/a".to_owned(), "/b/1".to_owned()])
        );
        let closed = r#"{"additionalProperties":false,"properties":{"days":true,"a/b":true}}"#;
        let settings = serde_json::from_str(r#"{"dyas":1,"a/c":2,"other":3}"#).unwrap();
        let mut problems = check(closed, &settings).unwrap();
        problems.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        let message = |text: &str| format!("this policy has no such setting{text}");
        let expected = [
            ("/a~1c", message("; did you mean `a/b`?")),
            ("/dyas", message("; did you mean `days`?")),
            ("/other", message("")),
        ];
        for (problem, (pointer, message)) in problems.iter().zip(&expected) {
            assert_eq!((&*problem.pointer, &problem.message), (*pointer, message));
        }
        assert_eq!(problems.len(), 3);
        assert_eq!(check_one("", "{}"), Ok(vec![]));
        assert_eq!(check_one("", r#"{"a":1}"#), Ok(vec![String::new()]));
    }

    /// Forty lines that stand for 2^40 checks, and a pattern that backtracks for ever elsewhere.
    #[test]
    fn refuses_what_could_take_for_ever() {
        let mut definitions = String::new();
        for level in 0..40 {
            let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, level + 1);
            definitions += &format!(r#""d{level}":{{"allOf":[{next},{next}]}},"#);
        }
        let bomb = format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{definitions}"d40":true}}}}"##);
        assert!(check_one(&bomb, "{}").unwrap_err().contains("`$ref`"));
        let pattern = r#"{"properties":{"a":{"pattern":"^(a+)+$"}}}"#;
        let settings = format!(r#"{{"a":"{}!"}}"#, "a".repeat(10_000));
        assert_eq!(check_one(pattern, &settings), Ok(vec!["/a".to_owned()]));
        assert!(check_one(&" ".repeat(70_000), "{}").is_err());
        assert!(check_one("{", "{}").is_err());
    }
}
