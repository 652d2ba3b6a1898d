//! The place of the Python package. **There is nothing in it yet.**
//!
//! It will be a wheel with the engine, the HTTP door and the DNS door inside, and a pytest plugin with fixtures that need
//! no set-up. Until then Python reaches Cloud Map as any AWS client does, through `sd-server`.
