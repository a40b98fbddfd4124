//! Whole numbers that know their unit, so that no caller has to remember it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $seconds:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// As the standard library's duration.
            pub const fn duration(self) -> Duration {
                Duration::from_secs(self.0.saturating_mul($seconds))
            }
        }

        impl From<$name> for Duration {
            fn from(value: $name) -> Self {
                value.duration()
            }
        }
    };
}

unit!(
    /// Seconds.
    Seconds,
    1
);
unit!(
    /// Minutes.
    Minutes,
    60
);
unit!(
    /// Hours.
    Hours,
    3600
);
unit!(
    /// Days of 24 hours.
    Days,
    86_400
);
