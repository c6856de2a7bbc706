//! What differs between what is expected and what came, in words.

use serde_json::Value;

/// Texts for people are expected to contain what is said, and may say more.
const CONTAINED: [&str; 2] = ["message", "reason"];

/// Whether all that `expected` says is so in `came`, which may say more.
pub fn differences(expected: &Value, came: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, came, &mut found);
    found
}

fn compare(path: &str, expected: &Value, came: &Value, found: &mut Vec<String>) {
    match (expected, came) {
        (Value::Object(expected), Value::Object(came)) => {
            for (key, value) in expected {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, value, came.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(expected), Value::Array(came)) => {
            if expected.len() != came.len() {
                found.push(format!("{path}: expected {}, came {}", expected.len(), came.len()));
            }
            let longest = expected.len().max(came.len());
            for index in 0..longest {
                let at = |values: &[Value]| values.get(index).cloned().unwrap_or_default();
                compare(&format!("{path}[{index}]"), &at(expected), &at(came), found);
            }
        }
        (Value::String(expected), Value::String(came)) if is_contained(path, expected, came) => {}
        _ if expected == came => {}
        _ => found.push(format!("{path}: expected {expected}, came {came}")),
    }
}

fn is_contained(path: &str, expected: &str, came: &str) -> bool {
    CONTAINED.iter().any(|key| path.ends_with(key)) && came.contains(expected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_surplus_or_other_is_told_and_what_is_not_asked_for_is_not() {
        let expected = json!({"rows": [["1"], ["2"]], "bad": [{"line": 2, "reason": "fields"}]});
        let same =
            json!({"rows": [["1"], ["2"]], "bad": [{"line": 2, "reason": "2 fields"}], "x": 1});
        assert_eq!(differences(&expected, &same), Vec::<String>::new());
        let other = json!({"rows": [["1"], ["2"], ["3"]], "bad": [{"line": 3, "reason": "quote"}]});
        assert_eq!(
            differences(&expected, &other),
            [
                "bad[0].line: expected 2, came 3",
                "bad[0].reason: expected \"fields\", came \"quote\"",
                "rows: expected 2, came 3",
                "rows[2]: expected null, came [\"3\"]",
            ]
        );
    }
}
