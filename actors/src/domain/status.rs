//! Platform status numbers in words (virtuozzo/API.md section 4).

use serde::Serialize;

/// A status as readers get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The platform's number.
    pub code: i32,
    /// Its name; `UNKNOWN` for a number that no source lists.
    pub name: &'static str,
    /// Whether it passes by itself, so that the item is worth a second look.
    pub transient: bool,
}

/// Names a status number of an environment or a node. An unlisted number is
/// unknown, not an error: the platform may add some any day.
pub const fn status(code: i32) -> Status {
    let (name, transient) = match code {
        1 => ("RUNNING", false),
        2 => ("DOWN", false),
        3 => ("LAUNCHING", true),
        4 => ("SLEEP", false),
        6 => ("CREATING", true),
        7 => ("CLONING", true),
        8 => ("NOT_EXISTS", false),
        9 => ("EXPORTING", true),
        10 => ("MIGRATING", true),
        11 => ("BROKEN", false),
        12 => ("UPDATING", true),
        13 => ("STOPPING", true),
        14 => ("GOING_TO_SLEEP", true),
        15 => ("RESTORING", true),
        1001 => ("DELETING", true),
        1002 => ("REFRESHING", true),
        // Also 5, which the dashboard of 5.4 called "Suspended": API and
        // clients say UNKNOWN.
        _ => ("UNKNOWN", false),
    };
    Status { code, name, transient }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_are_those_the_reference_lists() {
        let transient: Vec<i32> = (0..=15).filter(|code| status(*code).transient).collect();
        assert_eq!(transient, [3, 6, 7, 9, 10, 12, 13, 14, 15]);
    }

    #[test]
    fn unlisted_numbers_are_unknown_and_keep_their_number() {
        for code in [i32::MIN, -1, 0, 5, 16, 1003, i32::MAX] {
            let unknown = Status { code, name: "UNKNOWN", transient: false };
            assert_eq!(status(code), unknown);
        }
        assert_eq!(status(1).name, "RUNNING");
    }
}
