//! The API against fakes.
