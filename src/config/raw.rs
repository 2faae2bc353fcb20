//! What the user wrote: values with their YAML types, each with its place. The only user of `serde_yaml`.
//!
//! Two parsers read the file: `marks` knows places, `serde_yaml` knows types. They must see the same keys and texts in the same
//! shape; a file that they read differently is refused, since nobody could say which of the two its author meant.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::diagnostic::{Diagnostic, Position, plain, quoted};
use super::marks::{Key, Marked, Shape};

/// A value, and where its author finds it: its key's place, or its own in a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// A value as YAML's core schema types it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number as it is written, and its value if that is a whole number from 0 on.
    Number { text: String, whole: Option<u64> },
    /// Everything else, and what stands in quotes.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the file's order, with its duplicate keys.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) node: Node,
}

/// Reads the types of a file whose places are known.
///
/// # Errors
/// Syntax that only `serde_yaml` refuses, or a file that the two parsers read differently.
pub(super) fn read(text: &str, marked: &Marked) -> Result<Node, Diagnostic> {
    let value = Typed(marked).deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let at = error.location().map_or(marked.at, |at| Position { line: at.line(), column: at.column() });
        let error = error.to_string().replace(char::is_control, " ");
        let text = format!("found YAML that cannot be read ({error}), expected KEY: VALUE; write it more simply");
        Diagnostic::new(at, "", text)
    })?;
    Ok(Node { at: marked.at, value })
}

impl Node {
    /// What it is, in a fault.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Boolean(value) => value.to_string(),
            Value::Number { text, .. } => format!("the number {}", plain(text)),
            Value::Text(text) => quoted(text),
            Value::List(items) if items.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Reads the type of what stands at one place.
struct Typed<'a>(&'a Marked);

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Typed<'_> {
    /// The text of a scalar.
    fn scalar<E: Error>(&self) -> Result<String, E> {
        match &self.0.shape {
            Shape::Scalar(text) => Ok(text.clone()),
            Shape::List(_) | Shape::Map(_) => Err(ambiguous()),
        }
    }

    fn number<E: Error>(&self, whole: Option<u64>) -> Result<Value, E> {
        Ok(Value::Number { text: self.scalar()?, whole })
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a plain YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.scalar().map(|_| Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.scalar().map(|_| Value::Boolean(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.number(Some(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.number(u64::try_from(value).ok())
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        self.number(None)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        self.number(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        self.number(None)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        let text: String = self.scalar()?;
        if text == value { Ok(Value::Text(text)) } else { Err(ambiguous()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Shape::List(marked) = &self.0.shape else { return Err(ambiguous()) };
        let mut items = Vec::with_capacity(marked.len());
        for mark in marked {
            let value = seq.next_element_seed(Typed(mark))?.ok_or_else(ambiguous)?;
            items.push(Node { at: mark.at, value });
        }
        match seq.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(Value::List(items)),
            Some(_) => Err(ambiguous()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Shape::Map(marked) = &self.0.shape else { return Err(ambiguous()) };
        let mut entries = Vec::with_capacity(marked.len());
        for (Key { at, text }, mark) in marked {
            let key: String = map.next_key()?.ok_or_else(ambiguous)?;
            if key != *text {
                return Err(ambiguous());
            }
            let value = map.next_value_seed(Typed(mark))?;
            entries.push(Entry { key, node: Node { at: *at, value } });
        }
        match map.next_key::<serde::de::IgnoredAny>()? {
            None => Ok(Value::Map(entries)),
            Some(_) => Err(ambiguous()),
        }
    }
}

fn ambiguous<E: Error>() -> E {
    E::custom("two readers of YAML understand it differently")
}

#[cfg(test)]
mod tests {
    use super::super::marks;
    use super::*;

    fn values(text: &str) -> Option<Value> {
        let marked = marks::read(text).ok()??;
        read(text, &marked).ok().map(|node| node.value)
    }

    fn number(text: &str, whole: Option<u64>) -> Value {
        Value::Number { text: text.to_owned(), whole }
    }

    #[test]
    fn a_value_has_the_type_of_yamls_core_schema_and_its_text() {
        let Some(Value::List(items)) = values("[~, true, yes, 5432, 007, -1, 1.5, 99999999999999999999, '5432', 10s]") else {
            panic!("not a list");
        };
        let text = |text: &str| Value::Text(text.to_owned());
        let read: Vec<Value> = items.into_iter().map(|node| node.value).collect();
        assert_eq!(
            read,
            [
                Value::Null,
                Value::Boolean(true),
                text("yes"),
                number("5432", Some(5432)),
                text("007"),
                number("-1", None),
                number("1.5", None),
                number("99999999999999999999", None),
                text("5432"),
                text("10s"),
            ]
        );
    }

    #[test]
    fn a_value_has_its_keys_place_and_an_item_its_own() {
        let text = "a:\n  'b':  [x,\n    y]\n";
        let marked = marks::read(text).ok().flatten().map(|marked| read(text, &marked));
        let Some(Ok(Node { value: Value::Map(outer), .. })) = marked else { panic!("not a mapping") };
        let Some(Value::Map(inner)) = outer.first().map(|entry| &entry.node.value) else { panic!("not a mapping") };
        let Some(Entry { key, node }) = inner.first() else { panic!("no key") };
        let Value::List(items) = &node.value else { panic!("not a list") };
        assert_eq!((key.as_str(), node.at), ("b", Position { line: 2, column: 3 }));
        let places: Vec<Position> = items.iter().map(|item| item.at).collect();
        assert_eq!(places, [Position { line: 2, column: 10 }, Position { line: 3, column: 5 }]);
    }
}
