//! An in-process twin of each port: the executable specification.
