//! The JSON of the API: what leaves through it, and in which words.
//!
//! Kept apart from the domain on purpose: these shapes are a promise to
//! clients, those may change.

mod mirror;
mod sync;
mod words;

pub use mirror::*;
pub use sync::*;
pub use words::*;
