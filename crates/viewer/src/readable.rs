//! JSON values as lines that a person can read and a diff can compare: one line for each value, and for each line of a long text.

use std::fmt::Write;

use serde_json::Value;

/// Renders a value as indented lines, without quotation marks and braces.
pub(crate) fn readable(value: &Value) -> String {
    let mut out = String::new();
    add(&mut out, "", 0, value);
    out
}

fn add(out: &mut String, label: &str, depth: usize, value: &Value) {
    let indent = "  ".repeat(depth.min(40));
    match value {
        Value::Object(members) if !members.is_empty() => {
            let depth = open(out, label, &indent, depth);
            for (name, member) in members {
                add(out, &format!("{name}:"), depth, member);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            let depth = open(out, label, &indent, depth);
            for each in values {
                add(out, "-", depth, each);
            }
        }
        Value::String(text) if text.contains('\n') => {
            _ = writeln!(out, "{indent}{label}");
            for line in text.lines() {
                _ = writeln!(out, "{indent}  {line}");
            }
        }
        Value::String(text) => _ = writeln!(out, "{indent}{label} {text}"),
        other => _ = writeln!(out, "{indent}{label} {other}"),
    }
}

/// Begins a list or an object, and returns the depth of its members. The outermost one has no line of its own.
fn open(out: &mut String, label: &str, indent: &str, depth: usize) -> usize {
    if label.is_empty() {
        return depth;
    }
    _ = writeln!(out, "{indent}{label}");
    depth + 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::readable;

    #[test]
    fn every_value_has_a_line() {
        let value = json!({"a": {"b": "one\ntwo", "c": [1, {"d": null}]}, "e": {}, "f": "text"});
        assert_eq!(
            readable(&value),
            "a:\n  b:\n    one\n    two\n  c:\n    - 1\n    -\n      d: null\ne: {}\nf: text\n"
        );
    }
}
