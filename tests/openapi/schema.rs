//! Whether a value is as a schema of docs/openapi.yaml says: the part of OpenAPI 3.0 that the document uses, and no more.
//!
//! Stricter than OpenAPI in one point: a field that a schema with `properties` does not list is a fault, because then the
//! document has fallen behind the daemon.

use serde_json::Value;

/// Follows `$ref`, if it is one.
pub(crate) fn resolved<'a>(value: &'a Value, document: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else {
        return value;
    };
    let pointer = reference.strip_prefix('#').expect("references stay in the file");
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Where `value` is not as `schema` says, a sentence each.
pub(crate) fn faults(value: &Value, schema: &Value, document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    compare(value, schema, document, "the body", &mut faults);
    faults
}

fn compare(value: &Value, schema: &Value, document: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = resolved(schema, document);
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if let Some(wanted) = schema["type"].as_str()
        && !is_of(value, wanted)
    {
        return faults.push(format!("{at} is {value}, not of type {wanted}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        faults.push(format!("{at} is {value}, none of {}", schema["enum"]));
    }
    if let Some(number) = value.as_f64() {
        let below = schema["minimum"].as_f64().is_some_and(|least| number < least);
        let above = schema["maximum"].as_f64().is_some_and(|most| number > most);
        if below || above {
            faults.push(format!("{at} is {value}, out of its range"));
        }
    }
    compare_fields(value, schema, document, at, faults);
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        compare(
            item,
            &schema["items"],
            document,
            &format!("{at}[{index}]"),
            faults,
        );
    }
}

fn compare_fields(value: &Value, schema: &Value, document: &Value, at: &str, faults: &mut Vec<String>) {
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("names are text");
        if !fields.contains_key(name) {
            faults.push(format!("{at} has no {name}"));
        }
    }
    let Some(known) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in fields {
        match known.get(name) {
            Some(schema) => compare(field, schema, document, &format!("{at}.{name}"), faults),
            None => faults.push(format!("{at}.{name} is not documented")),
        }
    }
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the validator knows no type {other}"),
    }
}
