//! Vectors: finite, of the library's dimension, checked once at construction.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::error::{Error, Result};
use super::library::Metric;

/// One embedding as given by the client or the embedder: f32, finite, for cosine not zero.
///
/// Cheap to clone. Durable form: the numbers as little-endian IEEE 754 singles, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector(Arc<[f32]>);

impl Vector {
    /// Checks length, finiteness and, for cosine, that it has a direction. `invalid-argument`
    /// naming `field` otherwise.
    pub fn new(field: &str, values: Vec<f32>, dimension: usize, metric: Metric) -> Result<Self> {
        if values.len() != dimension {
            let got = values.len();
            let detail = format!("has {got} numbers; the library's dimension is {dimension}");
            return Err(Error::invalid(field, detail));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::invalid(field, format!("number {at} is not finite")));
        }
        // The squared norm must be representable too: the metrics are computed in f32.
        let norm: f32 = values.iter().map(|x| x * x).sum();
        if !norm.is_finite() {
            return Err(Error::invalid(field, "its length is too large for single precision"));
        }
        if metric == Metric::Cosine && norm < f32::MIN_POSITIVE {
            return Err(Error::invalid(field, "must not be zero: the cosine has no direction"));
        }
        Ok(Self(values.into()))
    }

    /// The numbers in order.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The durable form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().into_owned()
    }

    /// The durable form, without a copy where the machine's own form is the same.
    #[must_use]
    pub fn as_bytes(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            Cow::Borrowed(bytemuck::cast_slice(&self.0))
        } else {
            Cow::Owned(self.0.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
    }

    /// From the durable form; `None` when the length is no multiple of four.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then(|| Self(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vector;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("little-endian f32 numbers")
            }

            fn visit_bytes<E: serde::de::Error>(
                self,
                bytes: &[u8],
            ) -> std::result::Result<Vector, E> {
                Vector::from_bytes(bytes).ok_or_else(|| E::custom("length is no multiple of 4"))
            }
        }
        deserializer.deserialize_bytes(Bytes).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_durable_form_is_little_endian() {
        let vector = Vector::new("v", vec![1.0, -2.5], 2, Metric::Dot).expect("valid");
        assert_eq!(vector.to_bytes(), [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
        assert_eq!(Vector::from_bytes(&vector.to_bytes()), Some(vector));
        assert_eq!(Vector::from_bytes(&[0; 5]), None);
    }

    #[test]
    fn a_vector_is_checked_once() {
        let make = |values: &[f32], metric| Vector::new("embedding", values.to_vec(), 2, metric);
        assert!(make(&[1.0, 2.0], Metric::Cosine).is_ok());
        assert!(make(&[1.0], Metric::Dot).is_err());
        assert!(make(&[1.0, f32::NAN], Metric::Dot).is_err());
        assert!(make(&[1.0, f32::INFINITY], Metric::Dot).is_err());
        assert!(make(&[f32::MAX, f32::MAX], Metric::L2).is_err());
        assert!(make(&[0.0, 0.0], Metric::Cosine).is_err());
        assert!(make(&[0.0, 0.0], Metric::L2).is_ok());
    }
}
