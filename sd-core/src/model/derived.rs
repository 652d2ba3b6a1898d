use std::{fmt, sync::OnceLock};

/// A cache beside a value, of what is derived from it. It is not part of the value: a copy starts empty, and all caches are
/// equal.
pub(crate) struct Derived<T>(OnceLock<T>);

impl<T> Derived<T> {
    /// The derived value, made at the first call. `make` must be the same function at every call.
    pub(crate) fn get(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Clone for Derived<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> PartialEq for Derived<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Derived<T> {}

impl<T> fmt::Debug for Derived<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived")
    }
}
