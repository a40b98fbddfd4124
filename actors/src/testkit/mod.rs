//! What tests are built with: fixtures, a platform that follows a script, and
//! a whole installation on a paused clock.

pub mod fixtures;
pub mod line;
pub mod paced;
pub mod platform;
pub mod universe;

pub use platform::ScriptedPlatform;
pub use universe::Universe;
