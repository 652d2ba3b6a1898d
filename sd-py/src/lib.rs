//! The Python package. **This crate is still empty.**
//!
//! It will be a wheel with the engine, the HTTP door and the DNS door, and a pytest plugin whose fixtures need no setup.
//! Until then, Python programs use `sd-server` like any other AWS client.
