//! From tokens to the policy's types, by way of serde.
//!
//! What is compiled anew for each type is kept small: a type that asks for a number gets no code
//! for reading arrays.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::error::Error;
use super::reader::{Reader, Token};

/// The elements of an array or object.
struct Elements<'r, 'a> {
    reader: &'r mut Reader<'a>,
    end: &'static str,
    index: usize,
    /// The name of the element whose value is next.
    key: String,
    ended: bool,
}

/// Reads a type that asks for `$asked` as `$kind`.
macro_rules! as_kind {
    ($($asked:ident: $kind:ident($($unused:ident: $type:ty),*);)*) => {$(
        fn $asked<V>(self, $($unused: $type,)* visitor: V) -> Result<V::Value, Error>
        where
            V: Visitor<'de>,
        {
            self.$kind(visitor)
        }
    )*};
}

impl<'a> Reader<'a> {
    fn scalar<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Null => visitor.visit_unit(),
            Token::Boolean(value) => visitor.visit_bool(value),
            Token::Negative(value) => visitor.visit_i64(value),
            Token::Number(value) => visitor.visit_u64(value),
            Token::Text(value) => visitor.visit_string(value),
            Token::Array | Token::Object => Err(Error::expected(&visitor)),
        }
    }

    fn array<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Array => self.elements("]", |elements| visitor.visit_seq(elements)),
            _ => Err(Error::expected(&visitor)),
        }
    }

    fn object<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Object => self.elements("}", |elements| visitor.visit_map(elements)),
            _ => Err(Error::expected(&visitor)),
        }
    }

    /// What `read` makes of the elements; it has to read all of them.
    fn elements<T>(
        &mut self,
        end: &'static str,
        read: impl FnOnce(&mut Elements<'_, 'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (index, key, ended) = (0, String::new(), false);
        let mut elements = Elements {
            reader: self,
            end,
            index,
            key,
            ended,
        };
        let value = read(&mut elements)?;
        if elements.ended || !elements.another()? {
            Ok(value)
        } else {
            Err(Error::new("too many elements"))
        }
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'[') => self.array(visitor),
            Some(b'{') => self.object(visitor),
            _ => self.scalar(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Text(variant) => visitor.visit_enum(variant.into_deserializer()),
            Token::Object => self.elements("}", |elements| {
                visitor.visit_enum(MapAccessDeserializer::new(elements))
            }),
            _ => Err(Error::new("expected a text, or an object with one name")),
        }
    }

    as_kind! {
        deserialize_bool: scalar();
        deserialize_i8: scalar();
        deserialize_i16: scalar();
        deserialize_i32: scalar();
        deserialize_i64: scalar();
        deserialize_i128: scalar();
        deserialize_u8: scalar();
        deserialize_u16: scalar();
        deserialize_u32: scalar();
        deserialize_u64: scalar();
        deserialize_u128: scalar();
        deserialize_f32: scalar();
        deserialize_f64: scalar();
        deserialize_char: scalar();
        deserialize_str: scalar();
        deserialize_string: scalar();
        deserialize_bytes: scalar();
        deserialize_byte_buf: scalar();
        deserialize_unit: scalar();
        deserialize_unit_struct: scalar(_name: &'static str);
        deserialize_seq: array();
        deserialize_tuple: array(_length: usize);
        deserialize_tuple_struct: array(_name: &'static str, _length: usize);
        deserialize_map: object();
        deserialize_struct: object(_name: &'static str, _fields: &'static [&'static str]);
        deserialize_identifier: scalar();
        deserialize_ignored_any: deserialize_any();
    }
}

impl Elements<'_, '_> {
    fn another(&mut self) -> Result<bool, Error> {
        let another = self.reader.another(self.end, self.index == 0)?;
        self.ended = !another;
        self.index += 1;
        Ok(another)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.ended || !self.another()? {
            return Ok(None);
        }
        let value = seed.deserialize(&mut *self.reader);
        value
            .map(Some)
            .map_err(|error| error.inside(&(self.index - 1).to_string()))
    }
}

impl<'de> MapAccess<'de> for Elements<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if self.ended || !self.another()? {
            return Ok(None);
        }
        self.key = self.reader.key()?;
        seed.deserialize(self.key.as_str().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.reader)
            .map_err(|error| error.inside(&self.key))
    }
}
