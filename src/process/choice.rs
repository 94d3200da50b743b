//! Flags that may stand alone or have a value: `--flag`, `--flag=VALUE`.

use std::error::Error;
use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::settings::switch;

/// What such a flag says. A word for true means the flag without a value and a word for false its absence, so that an
/// environment variable can say both. A file whose name is such a word is called `./true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<T> {
    /// As if the flag were not there.
    Off,
    /// This value, or the one that the flag has alone.
    On(T),
}

impl<T> Choice<T> {
    /// The value, unless the flag is off.
    pub fn value(&self) -> Option<&T> {
        match self {
            Choice::Off => None,
            Choice::On(value) => Some(value),
        }
    }
}

/// What the flag has as its value when it stands alone (`default_missing_value`).
pub const ALONE: &str = "true";

/// Reads the value with `parse`; `alone` is what it is for a flag without one.
pub fn choice<T, E>(
    alone: &'static str,
    parse: fn(OsString) -> Result<T, E>,
) -> impl TypedValueParser<Value = Choice<T>>
where
    T: Clone + Send + Sync + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    OsStringValueParser::new().try_map(move |word| match word.to_str().and_then(|word| switch(word).ok()) {
        Some(false) => Ok(Choice::Off),
        Some(true) => parse(alone.into()).map(Choice::On),
        None => parse(word).map(Choice::On),
    })
}
