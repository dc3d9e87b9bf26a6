//! Finds a float that JSON cannot write. `serde_json` makes NaN and infinities `null` without a word, and a receipt must
//! not state that there is no value where there was a broken one.

use std::fmt;

use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A float is NaN or infinite, or a value refuses to be serialised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotFinite(String);

/// Refuses a value with a NaN or infinite float anywhere in it.
pub(crate) fn check(value: &impl Serialize) -> Result<(), NotFinite> {
    value.serialize(Walk)
}

/// Visits every value and writes nothing.
#[derive(Clone, Copy)]
struct Walk;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! fine {
    ($($method:ident($($argument:ty),*);)*) => { $(fn $method(self $(, _: $argument)*) -> Result<(), NotFinite> { Ok(()) })* };
}

macro_rules! walk_on {
    ($($method:ident($($argument:ty),*) -> $kind:ident;)*) => {
        $(fn $method(self $(, _: $argument)*) -> Result<Self, NotFinite> { Ok(self) })*
    };
}

impl Serializer for Walk {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_f32(self, value: f32) -> Result<(), NotFinite> {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Result<(), NotFinite> {
        if value.is_finite() { Ok(()) } else { Err(NotFinite(format!("{value} is not a number of JSON"))) }
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotFinite> {
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), NotFinite> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotFinite> {
        value.serialize(self)
    }

    fine! {
        serialize_bool(bool); serialize_char(char); serialize_str(&str); serialize_bytes(&[u8]);
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_none(); serialize_unit(); serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }
    walk_on! {
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }
}

macro_rules! parts {
    ($($kind:ident: $($method:ident($($name:ty),*)),+;)*) => { $(
        impl $kind for Walk {
            type Ok = ();
            type Error = NotFinite;
            $(fn $method<T: Serialize + ?Sized>(&mut self $(, _: $name)*, value: &T) -> Result<(), NotFinite> {
                value.serialize(*self)
            })+
            fn end(self) -> Result<(), NotFinite> {
                Ok(())
            }
        }
    )* };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}
