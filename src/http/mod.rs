//! The public API and the admin listener.
