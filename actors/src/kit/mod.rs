//! Bounded mailboxes, supervision and the roster: what every actor of the tree is built with.
