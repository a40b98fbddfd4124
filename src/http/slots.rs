//! Room for event streams: so many per process, so many per subject.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

/// Counts open streams.
#[derive(Clone)]
pub struct Slots(Arc<Inner>);

struct Inner {
    most: usize,
    most_per_subject: usize,
    gauge: IntGauge,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_subject: HashMap<Arc<str>, usize>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The process has as many as it may.
    Process,
    /// The subject has as many as it may.
    Subject,
}

/// One stream's place; given back when dropped.
pub struct Slot {
    slots: Slots,
    subject: Arc<str>,
}

impl Slots {
    /// Room for `most` streams, `most_per_subject` of each subject.
    pub fn new(most: usize, most_per_subject: usize, gauge: IntGauge) -> Self {
        Self(Arc::new(Inner { most, most_per_subject, gauge, taken: Mutex::default() }))
    }

    /// Takes a place.
    pub fn take(&self, subject: &str) -> Result<Slot, Full> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.0.most {
            return Err(Full::Process);
        }
        let subject: Arc<str> = match taken.by_subject.get_key_value(subject) {
            Some((_, count)) if *count >= self.0.most_per_subject => return Err(Full::Subject),
            Some((known, _)) => known.clone(),
            None => subject.into(),
        };
        taken.all += 1;
        *taken.by_subject.entry(subject.clone()).or_default() += 1;
        self.0.gauge.set(taken.all as i64);
        drop(taken);
        Ok(Slot { slots: self.clone(), subject })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inner = &self.slots.0;
        let mut taken = inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        inner.gauge.set(taken.all as i64);
        if let Some(count) = taken.by_subject.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                taken.by_subject.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_come_back() {
        let gauge = IntGauge::new("streams", "streams").unwrap();
        let slots = Slots::new(3, 2, gauge.clone());
        let first = slots.take("ann").ok().unwrap();
        let _second = slots.take("ann").ok().unwrap();
        assert_eq!(slots.take("ann").err(), Some(Full::Subject));
        let _third = slots.take("bob").ok().unwrap();
        assert_eq!(slots.take("eve").err(), Some(Full::Process));
        assert_eq!(gauge.get(), 3);
        drop(first);
        assert!(slots.take("ann").is_ok());
        assert_eq!(gauge.get(), 2);
    }
}
