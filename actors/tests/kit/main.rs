//! The kit's contract, sentence by sentence, on a paused clock.

mod mailbox;
mod pool;
mod probe;
mod roster;
mod stress;
mod supervisor;
mod task;
