//! A nudge to an actor downstream that carries no facts: any number of them
//! in a row are one message.
//!
//! The mark "already nudged" outlives incarnations of the receiver, the nudge
//! itself does not: an actor that ends drops its backlog. So the receiver
//! clears the mark when it starts and before each look, whatever made it look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kit::{Mailbox, Message};

/// Wakes one actor. Clones share the "already nudged" mark.
pub struct Wake<M> {
    mailbox: Mailbox<M>,
    pending: Arc<AtomicBool>,
    message: fn() -> M,
}

impl<M> Clone for Wake<M> {
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone(), pending: self.pending.clone(), message: self.message }
    }
}

impl<M: Message> Wake<M> {
    /// A wake that sends `message()`; the receiver clears `pending` when it
    /// starts and before it looks.
    pub fn new(mailbox: Mailbox<M>, pending: Arc<AtomicBool>, message: fn() -> M) -> Self {
        Self { mailbox, pending, message }
    }

    /// Wakes the actor unless a nudge waits already. A refused nudge is not
    /// an error: the actor polls.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && self.mailbox.cast((self.message)()).is_err()
        {
            self.pending.store(false, Ordering::Release);
        }
    }
}
