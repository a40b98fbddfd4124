//! Every kind of trouble that a platform can be in, one short test each.

mod answers;
mod bulk;
mod clock;
mod elements;
mod keys;
mod lists;
mod silence;
mod storm;
