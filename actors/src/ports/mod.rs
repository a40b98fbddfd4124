//! The engine's only doors to the world; each trait states its contract in prose.
