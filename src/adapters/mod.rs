//! Production adapters of the engine's ports.
