//! Reads CBOR (RFC 8949) by the rules of Smithy RPC v2: items may be of indefinite length, `undefined` is `null`, and only
//! major types 0 and 1 are integers.
//!
//! The deserializer of `minicbor-serde` refuses strings of indefinite length and `undefined`, and has no limit of depth.

use minicbor::{Decoder, data::Type};
use minicbor_serde::error::DecodeError;
use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Unexpected, Visitor},
    forward_to_deserialize_any,
};

/// The most lists and maps within each other, as in `serde_json`.
const DEPTH_LIMIT: usize = 128;

/// Reads one value from all of the bytes. The error names the fault and the octet.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut item = Item { decoder: Decoder::new(bytes), depth: 0 };
    let value = T::deserialize(&mut item).and_then(|value| match item.decoder.position() {
        end if end == bytes.len() => Ok(value),
        _ => Err(DecodeError::custom("trailing octets")),
    });
    value.map_err(|error| format!("{error}, at octet {}", item.decoder.position()))
}

/// The next data item of a decoder.
struct Item<'de> {
    decoder: Decoder<'de>,
    depth: usize,
}

impl<'de> Item<'de> {
    /// The error of an item whose type does not fit.
    fn unexpected<T>(found: Type, visitor: &impl Visitor<'de>) -> Result<T, DecodeError> {
        Err(DecodeError::invalid_type(Unexpected::Other(&found.to_string()), visitor))
    }

    fn integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = i128::from(self.decoder.int()?);
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => visitor.visit_i64(value),
            (_, Ok(value)) => visitor.visit_u64(value),
            _ => visitor.visit_i128(value),
        }
    }

    /// Joins the chunks of a string of indefinite length.
    fn pieces<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = self.decoder.str_iter()?.collect::<Result<String, _>>()?;
        visitor.visit_string(text)
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.decoder.array()?;
        self.inside(|item| visitor.visit_seq(Members { item, left }))
    }

    fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.decoder.map()?;
        self.inside(|item| visitor.visit_map(Members { item, left }))
    }

    fn inside<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth == DEPTH_LIMIT {
            return Err(DecodeError::custom("recursion limit exceeded"));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for &mut Item<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.decoder.datatype()? {
            Type::Bool => visitor.visit_bool(self.decoder.bool()?),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.integer(visitor),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => self.integer(visitor),
            Type::String => visitor.visit_borrowed_str(self.decoder.str()?),
            Type::StringIndef => self.pieces(visitor),
            Type::Array | Type::ArrayIndef => self.list(visitor),
            Type::Map | Type::MapIndef => self.map(visitor),
            // No member of a request has another type. There are no timestamps in requests.
            other => Item::unexpected(other, &visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if matches!(self.decoder.datatype()?, Type::Null | Type::Undefined) {
            self.decoder.skip()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        while self.decoder.datatype()? == Type::Tag {
            self.decoder.tag()?;
        }
        match self.decoder.datatype()? {
            Type::Array | Type::ArrayIndef => self.list(visitor),
            Type::Map | Type::MapIndef => self.map(visitor),
            other @ (Type::Break | Type::Unknown(_)) => Item::unexpected(other, &visitor),
            _ => {
                self.decoder.skip()?;
                visitor.visit_unit()
            }
        }
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The rest of a list or map. `left` is `None` for one of indefinite length.
struct Members<'a, 'de> {
    item: &'a mut Item<'de>,
    left: Option<u64>,
}

impl Members<'_, '_> {
    fn has_more(&mut self) -> Result<bool, DecodeError> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.item.decoder.datatype()? == Type::Break => {
                let end = self.item.decoder.position() + 1;
                self.item.decoder.set_position(end);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

impl<'de> SeqAccess<'de> for Members<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.has_more()? { seed.deserialize(&mut *self.item).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        if self.has_more()? { seed.deserialize(&mut *self.item).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        seed.deserialize(&mut *self.item)
    }
}
