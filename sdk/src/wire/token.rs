//! What a client shows to be let in.

use alloc::string::String;
use core::fmt;
use core::ops::Deref;
use serde::{Deserialize, Serialize};

/// A key or token. On the wire it is a text; `Debug` does not show it, so that it gets into no log.
///
/// ```
/// use headwater::wire::Token;
/// let token = Token::from("s3cret");
/// assert_eq!((&*token, format!("{token:?}")), ("s3cret", "Token(..)".to_owned()));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Deref for Token {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
