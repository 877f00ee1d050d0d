//! Metadata: what clients attach to libraries, documents and chunks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::error::{Error, Result};
use super::limits::Limits;

/// A JSON object in canonical text: keys sorted, numbers as doubles, whole ones without a
/// fraction. Kept as text so that reading, storing and sending it on need no parsing.
///
/// Equal metadata has equal text. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata(Arc<str>);

/// Beyond this a double no longer holds every whole number, so it is shown as a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl Metadata {
    /// Canonicalises and checks size and depth (`limits.metadata_bytes_max`,
    /// `limits.metadata_levels_max`); `invalid-argument` or `too-large` naming `field`.
    pub fn new(field: &str, object: Map<String, Value>, limits: &Limits) -> Result<Self> {
        let value = canonical(field, Value::Object(object), limits.metadata_levels_max)?;
        let text = value.to_string();
        if text.len() > limits.metadata_bytes_max {
            let detail = format!(
                "is {} bytes; at most {} (metadata_bytes_max)",
                text.len(),
                limits.metadata_bytes_max
            );
            return Err(Error::too_large(field, detail));
        }
        Ok(Self(text.into()))
    }

    /// The canonical JSON text of an object.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// How many bytes it takes on a wire, in whichever form, at most: a small value is longer as a
    /// field of a message than as JSON. Cost: a pass over the text.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        /// What a key and a number have as a message, beyond the key's text.
        const VALUE_BYTES: usize = 24;
        let values = self.0.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
        self.0.len() + VALUE_BYTES * values
    }

    /// Whether it has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        &*self.0 == "{}"
    }

    /// The parsed object.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        // The text was made from such an object by this type's only constructor, or checked when
        // the record that holds it was read; damage beyond that shows as an empty object.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// This with `over`'s keys put over it (top level only).
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        if over.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return over.clone();
        }
        let mut merged = self.to_map();
        merged.extend(over.to_map());
        Self(Value::Object(merged).to_string().into())
    }
}

fn canonical(field: &str, value: Value, levels: usize) -> Result<Value> {
    let deeper = |value| {
        if levels == 0 {
            return Err(Error::invalid(field, "is nested too deep (metadata_levels_max)"));
        }
        canonical(field, value, levels - 1)
    };
    Ok(match value {
        Value::Null | Value::Bool(_) | Value::String(_) => value,
        Value::Number(number) => canonical_number(field, &number)?,
        Value::Array(items) => Value::Array(items.into_iter().map(deeper).collect::<Result<_>>()?),
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .map(|(key, value)| deeper(value).map(|value| (key, value)))
                .collect::<Result<_>>()?,
        ),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
fn canonical_number(field: &str, number: &Number) -> Result<Value> {
    let double = number.as_f64().filter(|x| x.is_finite());
    let Some(double) = double else {
        return Err(Error::invalid(field, format!("{number} is no double")));
    };
    let whole = double.fract() == 0.0 && double.abs() <= WHOLE_MAX;
    Ok(if whole { Value::from(double as i64) } else { Value::from(double) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> Result<Metadata> {
        let map = serde_json::from_str(text).expect("JSON object");
        Metadata::new("metadata", map, &Limits::default())
    }

    #[test]
    fn equal_metadata_has_equal_text() {
        let a = metadata(r#"{"b":3.0,"a":{"y":[1,2.5],"x":null}}"#);
        let b = metadata(r#"{"a":{"x":null,"y":[1.0,2.5]},"b":3}"#);
        assert_eq!(a, b);
        assert_eq!(
            a.map(|m| m.as_json().to_owned()).ok().as_deref(),
            Some(r#"{"a":{"x":null,"y":[1,2.5]},"b":3}"#)
        );
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nest = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(metadata(&nest(8)).is_ok());
        assert!(metadata(&nest(9)).is_err());
        assert!(metadata(&format!(r#"{{"a":"{}"}}"#, "x".repeat(65_000))).is_ok());
        assert!(metadata(&format!(r#"{{"a":"{}"}}"#, "x".repeat(66_000))).is_err());
    }

    #[test]
    fn chunk_metadata_goes_over_the_documents() {
        let (a, b) = (metadata(r#"{"a":1,"b":1}"#), metadata(r#"{"b":2}"#));
        let (Ok(a), Ok(b)) = (a, b) else { panic!("valid") };
        assert_eq!(a.overlaid(&b).as_json(), r#"{"a":1,"b":2}"#);
        assert_eq!(a.overlaid(&Metadata::default()), a);
    }
}
