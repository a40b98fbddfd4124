//! What tests are built with: fixtures, and a platform that follows a script.

pub mod fixtures;
pub mod platform;

pub use platform::ScriptedPlatform;
