//! Wires configuration, adapters, engine and listeners into a running service.

mod settings;
mod system;
