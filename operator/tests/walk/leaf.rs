//! The fields of the specification, from the generated schema.

use serde_json::Value;

/// A field with a value of its own.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Where it stands below `spec`, in dots; `0` is the first element of a list.
    pub path: String,
    pub schema: Value,
}

impl Leaf {
    /// A bound of the schema, such as `maximum`.
    pub fn bound(&self, name: &str) -> Option<i64> {
        // Bounds of numbers are written with a decimal point.
        let text = self.schema[name].to_string();
        text.trim_end_matches(".0").parse().ok()
    }
}

fn root() -> Value {
    let definition = serde_json::to_value(crds::crd()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Every field with a value of its own. A list or map of plain values is one.
pub fn all() -> Vec<Leaf> {
    let mut found = Vec::new();
    visit(&root(), "", &mut |path, schema| {
        if schema["properties"].is_null() && schema["items"]["properties"].is_null() {
            found.push(Leaf {
                path: path.to_owned(),
                schema: schema.clone(),
            });
        }
    });
    found
}

/// Every object of fixed fields, the specification itself first.
pub fn objects() -> Vec<String> {
    let mut found = Vec::new();
    visit(&root(), "", &mut |path, schema| {
        if schema["properties"].is_object() {
            found.push(path.to_owned());
        }
    });
    found
}

/// Every field that must be there, as soon as what it belongs to is.
pub fn required() -> Vec<String> {
    let mut found = Vec::new();
    visit(&root(), "", &mut |path, schema| {
        for name in schema["required"].as_array().into_iter().flatten() {
            found.push(format!("{path}.{}", name.as_str().unwrap()));
        }
    });
    found
}

fn visit(schema: &Value, path: &str, each: &mut impl FnMut(&str, &Value)) {
    each(path, schema);
    if schema["items"]["properties"].is_object() {
        visit(&schema["items"], &format!("{path}.0"), each);
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        visit(child, &format!("{path}{dot}{name}"), each);
    }
}

/// The value at a path.
pub fn get<'a>(specification: &'a Value, path: &str) -> &'a Value {
    let pointer = format!("/{}", path.replace('.', "/"));
    specification.pointer(&pointer).unwrap_or(&Value::Null)
}

/// The specification with another value at a path; `null` leaves the field out.
pub fn with(specification: &Value, path: &str, value: Value) -> Value {
    let mut changed = specification.clone();
    let mut place = &mut changed;
    let mut parts: Vec<&str> = path.split('.').collect();
    let last = parts.pop().unwrap();
    for part in parts {
        place = match (part.parse::<usize>(), place) {
            (Ok(index), Value::Array(items)) => &mut items[index],
            (_, place) => {
                if !place.is_object() {
                    *place = serde_json::json!({});
                }
                &mut place[part]
            }
        };
    }
    if !place.is_object() {
        *place = serde_json::json!({});
    }
    let fields = place.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(last);
    } else {
        fields.insert(last.to_owned(), value);
    }
    changed
}
