//! Whether two requests ask for the same.

use aws_lc_rs::digest;
use serde_json::Value;

/// Equal parameters give an equal digest, whatever their order and spacing.
pub(crate) fn fingerprint(kind: &str, parameters: &Value) -> [u8; 32] {
    let mut text = kind.to_owned();
    canonical(parameters, &mut text);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    bytes
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, field) in fields {
                text.push_str(&Value::from(name.as_str()).to_string());
                canonical(field, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
            }
            text.push(']');
        }
        scalar => {
            text.push_str(&scalar.to_string());
            text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_spacing_of_parameters_do_not_matter_but_values_do() {
        let digest = |text: &str| fingerprint("NATIVE", &serde_json::from_str(text).unwrap());
        let first = digest(r#"{"a":{"x":1,"y":[2]},"b":"c"}"#);
        assert_eq!(first, digest(r#"{ "b":"c", "a":{"y":[2],"x":1}}"#));
        assert_ne!(digest(r#"{"a":1,"b":2}"#), digest(r#"{"a":1,"b":3}"#));
        assert_ne!(digest(r#"{"a":[1,2]}"#), digest(r#"{"a":[12]}"#));
    }
}
