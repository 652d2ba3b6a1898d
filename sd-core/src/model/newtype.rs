//! Newtypes over shared text, and the alphabet of identifiers.

use data_encoding::{Encoding, Specification};

/// Declares a newtype over shared text, with one fallible constructor.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $text:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            /// The constraint that the text breaks.
            pub fn parse(text: &str) -> Result<Self, $crate::model::constraint::Constraint> {
                const TEXT: &$crate::model::constraint::Text = $text;
                TEXT.check(text)?;
                Ok(Self::of_checked(text))
            }

            /// Wraps a text that was checked before.
            pub(crate) fn of_checked(text: &str) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                Self::from(&text)
            }
        }

        impl From<&$name> for String {
            fn from(text: &$name) -> Self {
                text.as_str().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::constraint::Constraint;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}
pub(crate) use text_newtype;

/// Lower-case base32 without padding (RFC 4648 section 6), the alphabet of the service's identifiers.
fn base32() -> &'static Encoding {
    static BASE32: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        // The specification is constant, and a test shows that it is valid.
        specification.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
    });
    &BASE32
}

pub(crate) fn encode_base32(bytes: &[u8]) -> String {
    base32().encode(bytes)
}

/// Appends the base32 encoding of the bytes to `text`.
pub(crate) fn encode_base32_into(bytes: &[u8], text: &mut String) {
    base32().encode_append(bytes, text);
}

pub(crate) fn decode_base32(text: &str) -> Option<Vec<u8>> {
    base32().decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_lower_case_without_padding() {
        assert_eq!(encode_base32(&[0, 0, 0, 0, 1]), "aaaaaaab");
        assert_eq!(decode_base32("aaaaaaab").as_deref(), Some(&[0u8, 0, 0, 0, 1][..]));
        assert_eq!(decode_base32("AAAAAAAB"), None);
    }
}
