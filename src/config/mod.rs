//! Configuration: embedded defaults < file < environment < flags.
