//! The panic hook: says where, and of the message only what was written in the code.

use std::any::Any;
use std::panic;
use std::thread;

/// Logs panics as `panicked` events, instead of the default hook's text on stderr:
/// a payload that was formatted at run time may hold anything, even a session key.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map_or_else(
            || "unknown".to_owned(),
            |place| format!("{}:{}:{}", place.file(), place.line(), place.column()),
        );
        let current = thread::current();
        tracing::error!(
            event = "panicked",
            location,
            thread = current.name().unwrap_or("unnamed"),
            reason = describe(info.payload()),
            "a task panicked"
        );
    }));
}

/// A literal of the code is shown; a text made at run time is not.
fn describe(payload: &(dyn Any + Send)) -> &'static str {
    match payload.downcast_ref::<&'static str>() {
        Some(literal) => literal,
        None => "withheld: the message was formatted at run time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literals_are_told() {
        let literal = panic::catch_unwind(|| panic!("the mailbox is gone")).unwrap_err();
        assert_eq!(describe(&*literal), "the mailbox is gone");
        let canary = String::from("canary");
        let formatted = panic::catch_unwind(|| panic!("key {canary}")).unwrap_err();
        assert!(describe(&*formatted).starts_with("withheld"));
    }
}
